"""Chains a second and worker process: an external step and one after it, beside two ordinary."""

from __future__ import annotations

import random
import time
from typing import Any
from uuid import uuid4

from celery_external import Succeeded
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.waiting import wait_for

#: Two ordinary steps, and trigger, park, signal, resume and the next step.
CASES = ("ordinary", "external")
#: Chains in a round.
NUMBER = 300
#: Seconds between looks for what has parked, which is then signalled at once.
PAUSE = 0.05
PATIENCE = 300


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """All chains are in the queue before the one worker process begins; the first round warms up.

    What parks is signalled from this process by ``signal_many``, as it parks.
    """
    with rig.worker(concurrency=1):
        for number_of_round in range(rounds + 1):
            for case in random.sample(CASES, len(CASES)):
                seconds = _time(rig, case)
                if number_of_round:
                    records.add("lifecycle", case, NUMBER / seconds, "per second",
                                round=number_of_round)  # fmt: skip
            rig.clear()
            rig.settle_down()


def _time(rig: Rig, case: str) -> float:
    """Seconds from the beginning of work until the last chain's last step begins."""
    key, steps = str(uuid4()), rig.module
    control: Any = rig.module.app.control
    wait_for(lambda: control.cancel_consumer("celery", reply=True), what="the worker to pause")
    first = steps.work if case == "ordinary" else steps.ask
    for _ in range(NUMBER):
        (first.s() | steps.note.s(key)).apply_async()
    start = time.monotonic()
    control.add_consumer("celery")
    if case == "external":
        _signal_what_parks(rig)
    return max(at for at, _ in rig.notes(key, NUMBER)) - start


def _signal_what_parks(rig: Rig) -> None:
    number, give_up_at = 0, time.monotonic() + PATIENCE
    while number < NUMBER and time.monotonic() < give_up_at:
        rows = rig.query("SELECT id FROM celery_external_job WHERE state = 'PARKED'")
        rig.external.signal_many((job_id, Succeeded(None)) for (job_id,) in rows)
        number += len(rows)
        time.sleep(PAUSE)
    assert number == NUMBER, f"only {number} have parked"
