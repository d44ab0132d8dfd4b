"""The events of the state table, as the store and the use cases know them.

Each is applied to the job that ``row`` shows, a snapshot that may be older than the job.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from celery_external import JobAlreadyCompletedError, states
from celery_external.payload import outcome_columns
from celery_external.store import attempts, decisions, deliveries, noted, times
from celery_external.store.database import Row
from tests.rows import CLAIM, Rows

GRACE = 60
LEASE = 300
#: Seconds for which a trigger may run, and after which a message that no worker took is repeated.
TRIGGER = PENDING = 3600

Event = Callable[[Rows, Row], object]


# --- A worker -------------------------------------------------------------------------------------


def deliver(rows: Rows, row: Row) -> None:
    rows.take(row["id"], row["attempt"], claim="other")


def redeliver(rows: Rows, row: Row) -> None:
    rows.take(row["id"], row["attempt"], claim="other", is_redelivered=True)


def end_own_trigger(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        deliveries.claim_outcome(tx, row, "other", LEASE)


def park(rows: Rows, row: Row) -> None:
    rows.park(row, timeout=100)


def park_with_heartbeat(rows: Rows, row: Row) -> None:
    rows.park(row, timeout=100, heartbeat_timeout=10)


def decide_own(rows: Rows, row: Row) -> None:
    with noted.deciding(rows.database) as tx:
        decisions.decide_own(tx, row, CLAIM, outcome=rows.outcome(), lease=LEASE)


def lose(rows: Rows, row: Row) -> None:
    lost = outcome_columns(states.LOST, reason="killed")
    with noted.deciding(rows.database) as tx:
        decisions.decide_lost(tx, row, lost, GRACE)


def answer_timeout(rows: Rows, row: Row) -> None:
    with noted.deciding(rows.database) as tx:
        decisions.answer_timeout(tx, row, CLAIM, rows.outcome("late"))


def overrule(rows: Rows, row: Row) -> None:
    refused = outcome_columns(states.FAILED, reason="no JSON")
    with noted.deciding(rows.database) as tx:
        decisions.overrule(tx, row, CLAIM, refused)


def settle(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        deliveries.settle(tx, row, CLAIM)


def release(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        deliveries.release(tx, row, CLAIM, 4 * GRACE)


def save_meta(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        deliveries.save_meta(tx, row, CLAIM, {"said": "by the trigger"})


def save_reference(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        deliveries.save_reference(tx, row, CLAIM, "r-1")


def retry(rows: Rows, row: Row) -> None:
    rows.begin_next_attempt(row, states.RETRY)


def replace(rows: Rows, row: Row) -> None:
    rows.begin_next_attempt(row)


# --- A caller -------------------------------------------------------------------------------------


def start_again(rows: Rows, row: Row) -> None:
    """An ``apply_async`` of an id that is a job already, from elsewhere."""
    rows.task.apply_async(task_id=row["id"])


def start_as_replacement(rows: Rows, row: Row) -> None:
    """The step that carries the job's id, of the canvas that has replaced it."""
    rows.task.apply_async(task_id=row["id"], replaced_task_nesting=1)


def take_back(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        attempts.delete_unsent(tx, rows.namespace, row["id"])


def set_wake(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        attempts.set_wake(tx, row, GRACE)


def decide(rows: Rows, row: Row) -> None:
    with noted.deciding(rows.database) as tx:
        decisions.decide(
            tx,
            namespace=rows.namespace,
            job_id=row["id"],
            attempt=row["attempt"],
            outcome=rows.outcome(),
            by=None,
            wake_in=GRACE,
        )


def decide_many(rows: Rows, row: Row) -> None:
    with noted.deciding(rows.database) as tx:
        decisions.decide_many(
            tx,
            namespace=rows.namespace,
            outcomes=[(row["id"], row["attempt"], rows.outcome())],
            by=None,
            wake_in=GRACE,
        )


def expire(rows: Rows, row: Row) -> None:
    late = outcome_columns(states.TIMED_OUT, reason="late")
    with rows.database.transaction() as tx:
        times.expire(tx, rows.namespace, [row["id"]], late, GRACE)


def progress(rows: Rows, row: Row) -> None:
    with rows.database.alone() as tx:
        times.record_progress(
            tx,
            namespace=rows.namespace,
            job_id=row["id"],
            attempt=row["attempt"],
            progress={"current": 1},
        )


def extend(rows: Rows, row: Row) -> None:
    with noted.deciding(rows.database) as tx:
        times.extend(
            tx,
            namespace=rows.namespace,
            job_id=row["id"],
            attempt=row["attempt"],
            timeout=500,
            deadline=None,
            by=None,
            reason=None,
        )


def rerun(rows: Rows, row: Row) -> None:
    with noted.deciding(rows.database) as tx:
        attempts.rerun(tx, row, deadline=None, wake_in=PENDING, by=None, reason=None)


def succeed(rows: Rows, row: Row) -> None:
    rows.external.signal_succeeded(row["id"], 5, by="alice")


def fail(rows: Rows, row: Row) -> None:
    rows.external.signal_failed(row["id"], "no", by="bob")


def cancel(rows: Rows, row: Row) -> None:
    rows.external.cancel_job(row["id"], by="eve", reason="changed my mind")


def repeat_the_outcome(rows: Rows, row: Row) -> None:
    receipt = rows.external.signal_succeeded(row["id"], 1)
    assert (receipt.status, receipt.sent) == ("duplicate", False)


def contradict(rows: Rows, row: Row) -> None:
    with pytest.raises(JobAlreadyCompletedError):
        rows.external.signal_failed(row["id"], "no")
