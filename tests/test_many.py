"""Many jobs at once, each of a named attempt; more on many: ``test_states_signals``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_external import (
    ExternalTask,
    Failed,
    JobNotFoundError,
    Receipt,
    StaleAttemptError,
    Succeeded,
)
from celery_external.many import cancel_many
from tests.rows import Rows, ask

WAYS: dict[str, Callable[[Rows, list[tuple[str, int]]], list[Receipt]]] = {
    "succeed": lambda rows, jobs: rows.external.signal_many(
        [(job_id, Succeeded(1), attempt) for job_id, attempt in jobs], by="alice", reason="good"
    ),
    "fail": lambda rows, jobs: rows.external.signal_many(
        [(job_id, Failed("no"), attempt) for job_id, attempt in jobs], by="alice"
    ),
    "cancel": lambda rows, jobs: cancel_many(rows.installation, jobs, by="alice", reason="late"),
}
LINES: dict[str, Any] = {
    "succeed": ("succeeded", "alice", "good"),
    "fail": ("failed", "alice", "no"),
    "cancel": ("cancelled", "alice", "late"),
}


@pytest.mark.parametrize("way", WAYS)
def test_each_counts_for_its_attempt_or_for_none(rows: Rows, way: str) -> None:
    parked, again = rows.parked(), rows.retry()
    said = [(parked, 1), (again, 1), ("nobody", 1), ("\x00", 1)]

    first, stale, unknown, impossible = WAYS[way](rows, said)

    assert (first.job_id, first.status, first.sent) == (parked, "applied", True)
    assert isinstance(stale.error, StaleAttemptError)
    assert isinstance(unknown.error, JobNotFoundError)
    assert isinstance(impossible.error, JobNotFoundError)
    assert rows.get(again)["kind"] is None
    (line,) = rows.history(parked)
    assert (line["event"], line["by"], line["reason"]) == LINES[way]
    assert rows.sent() == [(parked, 1)]

    (counts,) = WAYS[way](rows, [(again, 2)])
    assert (counts.attempt, counts.status) == (2, "applied")
    (same,) = WAYS[way](rows, [(parked, 1)])
    assert same.status == "duplicate"


def test_of_a_task_with_a_result_type(rows: Rows) -> None:
    rows.app.tasks.pop("rows.ask")
    make: Any = rows.app.task(base=ExternalTask, name="rows.ask", shared=False, result_type=int)
    rows.task = make(ask)
    parked, again = rows.parked(), rows.retry()

    receipts = rows.external.signal_many([(parked, Succeeded("3"), 1), (again, Succeeded("3"), 1)])

    assert [receipt.status for receipt in receipts] == ["applied", "refused"]
    assert isinstance(receipts[1].error, StaleAttemptError)
    assert rows.external.get_job(parked).result == 3
