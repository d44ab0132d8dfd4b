"""A caller of its own for one round of ``latency``: ``python -m tests.benchmarks.latencies 100``.

Its app is of the environment, so that each broker has a process that speaks to it. Prints JSON: for
each case the milliseconds of each step.
"""

from __future__ import annotations

import json
import sys
import time
from collections import defaultdict
from typing import Any, cast
from uuid import uuid4

from celery_external import find_jobs, signal_succeeded
from tests.benchmarks.app import app, ask, note, notes, stamp
from tests.waiting import wait_for

#: Before these, nothing is kept: connections are opened, statements prepared.
WARM_UP = 5
PATIENCE = 30


def main(number: int) -> None:
    """One after the other, a signal and a hop by turns."""
    key = str(uuid4())
    jobs = [_ask(key) for _ in range(WARM_UP + number)]
    for job_id in jobs:
        _wait_until_parked(job_id)
    found = defaultdict(list)
    for job_id in jobs:
        # The result is when the signal was sent, as that of `stamp` is when it ended.
        signal_succeeded(job_id, time.monotonic(), app=app)
        found["signal"].append(_take_note(key))
        (stamp.s() | note.s(key)).apply_async()
        found["hop"].append(_take_note(key))
    sys.stdout.write(json.dumps({case: times[WARM_UP:] for case, times in found.items()}))


def _ask(key: str) -> str:
    chain: Any = (ask.s() | note.s(key)).apply_async()
    return cast("str", chain.parent.id)


def _wait_until_parked(job_id: str) -> None:
    wait_for(lambda: list(find_jobs(state="PARKED", root_id=job_id, app=app)), what="a park")


def _take_note(key: str) -> float:
    """Milliseconds from what the step before said until the next began."""
    found: Any = notes.blpop([key], timeout=PATIENCE)
    began, _, given = found[1].decode().partition(" ")
    return 1000 * (float(began) - float(given))


if __name__ == "__main__":
    main(int(sys.argv[1]))
