"""Many jobs due at once: until the last has its outcome, and until the last is settled."""

from __future__ import annotations

import random
import time
from contextlib import ExitStack

from tests.benchmarks.crew import Crew
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.waiting import wait_for

SWEEPERS = (1, 2)
#: Jobs due in each round, and once in a run.
DUE = 10_000
DUE_ONCE = 100_000
#: Where workers hand each on as well, which takes them far longer than the sweep.
DUE_FOR_WORKERS = 1_000
WORKERS = 2
PATIENCE = 600
PAST = "clock_timestamp() - interval '1 minute' + n * interval '1 microsecond'"
UNSETTLED = """
SELECT count(*) FROM celery_external_job WHERE id <> %s AND (wake_at IS NOT NULL OR kind IS NULL)
"""


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """One sweeper and two by turns: each loops ``External.sweep()`` until nothing is due.

    ``outcome``: each has its outcome, and its message is with the broker. ``settled``: workers
    have handed each on.
    """
    given = rig.park_one()
    with ExitStack() as stack:
        crews = {}
        for sweepers in SWEEPERS:
            crews[sweepers] = Crew(
                "tests.benchmarks.sweepers:make_sweeper", rig.env, processes=sweepers
            )
            stack.callback(crews[sweepers].close)
            _sweep(rig, given, crews[sweepers], 1_000)
        for number_of_round in range(1, rounds + 1):
            numbers = {DUE, DUE_ONCE} if number_of_round == 1 else {DUE}
            for due in sorted({min(number, rig.size) for number in numbers}):
                for sweepers in random.sample(SWEEPERS, len(SWEEPERS)):
                    seconds = _sweep(rig, given, crews[sweepers], due)
                    records.add("expiry", "outcome", due / seconds, "per second", jobs=due,
                                sweepers=sweepers, round=number_of_round)  # fmt: skip
        stack.enter_context(rig.worker(concurrency=WORKERS))
        for number_of_round in range(rounds + 1):
            due = min(DUE_FOR_WORKERS, rig.size)
            for sweepers in random.sample(SWEEPERS, len(SWEEPERS)):
                seconds = _settle(rig, given, crews[sweepers], due)
                if number_of_round:
                    records.add("expiry", "settled", due / seconds, "per second", jobs=due,
                                sweepers=sweepers, round=number_of_round)  # fmt: skip


def _sweep(rig: Rig, given: str, crew: Crew, due: int) -> float:
    _have_due(rig, given, due)
    seconds, _ = crew.run([True] * len(crew))
    assert rig.query("SELECT count(*) FROM celery_external_job WHERE kind IS NULL") == [(1,)]
    rig.empty_queues()
    return seconds


def _settle(rig: Rig, given: str, crew: Crew, due: int) -> float:
    _have_due(rig, given, due)
    start = time.monotonic()
    crew.run([True] * len(crew))
    wait_for(
        lambda: rig.query(UNSETTLED, (given,)) == [(0,)],
        timeout=PATIENCE,
        what="all jobs to settle",
    )
    return time.monotonic() - start


def _have_due(rig: Rig, given: str, due: int) -> None:
    rig.clear(keep=given)
    rig.fill(given, due, deadline=PAST, wake_at=PAST)
    rig.settle_down()
