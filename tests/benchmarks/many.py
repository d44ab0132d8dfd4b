"""Rows a second through ``signal_many``, beside one bare UPDATE of as many rows of the table."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from itertools import islice

from celery_external import Succeeded
from tests.benchmarks.owing import choose_send
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig

#: The commit alone, with the send, and what both are held against.
CASES = ("floor", "commit", "send")
SIZES = (1_000, 10_000)
RESULT = {"approved": True}
#: Of the very table, with all its indexes, which a new state and outcome must go through as well.
UPDATE = """
UPDATE celery_external_job AS job SET state = 'SUCCESS', outcome = given.outcome
FROM unnest(%s::text[], %s::bytea[]) AS given (id, outcome)
WHERE job.namespace = 'default' AND job.id = given.id AND job.state = 'PARKED'
RETURNING job.id
"""


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """Each case in turn, in another order each round; the first round warms up."""
    given = rig.park_one()
    for size in SIZES:
        ids = iter(rig.fill(given, len(CASES) * (rounds + 1) * size))
        rig.settle_down()
        for number_of_round in range(rounds + 1):
            for case in random.sample(CASES, len(CASES)):
                seconds = _time(rig, case, list(islice(ids, size)))
                if number_of_round:
                    records.add("signal_many", case, size / seconds, "rows per second",
                                rows=size, round=number_of_round)  # fmt: skip
            rig.empty_queues()


def _time(rig: Rig, case: str, ids: Sequence[str]) -> float:
    start = time.monotonic()
    if case == "floor":
        outcomes = [b'{"approved": true}'] * len(ids)
        done = len(rig.query(UPDATE, (ids, outcomes)))
    else:
        choose_send(is_sent=case == "send")
        said = [(job_id, Succeeded(RESULT)) for job_id in ids]
        receipts = rig.external.signal_many(said, by="alice")
        done = sum(receipt.status == "applied" for receipt in receipts)
    seconds = time.monotonic() - start
    choose_send(is_sent=True)
    assert done == len(ids)
    return seconds
