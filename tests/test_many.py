"""Many jobs at once, each of a named attempt; more on many: ``test_states_signals``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_external import (
    ExternalTask,
    Failed,
    JobNotFoundError,
    OptionError,
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


#: What an array's text form must quote, or takes for something else.
TEXTS = ['"quoted"', "{a,b}", "back\\slash", "NULL", "two\nlines\t", "", "ü 100 %s %(x)s"]


def test_texts_arrive_as_they_are(rows: Rows) -> None:
    good = {rows.pending(task_id=f"good {text}"): text for text in TEXTS}
    bad = {rows.pending(task_id=f"bad {text}"): text for text in TEXTS}
    given: list[Any] = [(job_id, Succeeded([text]), 1) for job_id, text in good.items()]
    given += [(job_id, Failed(text)) for job_id, text in bad.items()]

    receipts = rows.external.signal_many(given, by=TEXTS[0])

    assert [(r.job_id, r.status) for r in receipts] == [(i, "applied") for i in (*good, *bad)]
    assert {i: rows.external.get_job(i).result for i in good} == {i: [t] for i, t in good.items()}
    assert {i: rows.get(i)["reason"] for i in bad} == bad
    assert {rows.get(i)["completed_by"] for i in (*good, *bad)} == {TEXTS[0]}


def test_an_outcome_that_is_said_of_several(rows: Rows) -> None:
    yes, no, failed = Succeeded("yes"), Succeeded("no"), Failed("late")
    said: list[Any] = [yes, yes, no, yes, failed, failed, no]
    given = [(rows.parked(), outcome) for outcome in said]

    rows.external.signal_many(given, reason="asked")

    jobs = [rows.external.get_job(job_id) for job_id, _ in given]
    assert [job.result for job in jobs] == ["yes", "yes", "no", "yes", None, None, "no"]
    assert [job.reason for job in jobs] == ["asked"] * 4 + ["late"] * 2 + ["asked"]


def test_the_serializer_is_the_one_that_the_app_has_by_now(rows: Rows) -> None:
    for serializer, type_ in (
        ("json", "application/json;utf-8"),
        ("pickle", "application/x-python-serialize;binary"),
        ("json", "application/json;utf-8"),
    ):
        rows.app.conf.result_serializer = serializer
        job_id = rows.parked()
        rows.external.signal_many([(job_id, Succeeded(1))])
        assert rows.get(job_id)["outcome_type"] == type_


def test_the_greatest_attempt_that_a_number_can_name(rows: Rows) -> None:
    first, second = rows.parked(), rows.parked()
    counts, stale = rows.external.signal_many(
        [(first, Succeeded(1), 1), (second, Succeeded(1), (1 << 31) - 1)]
    )
    assert counts.status == "applied"
    assert isinstance(stale.error, StaleAttemptError)


@pytest.mark.parametrize("said", [None, "yes", {"ok": True}], ids=["none", "text", "mapping"])
def test_what_is_no_outcome_is_refused_before_anything_is_written(rows: Rows, said: Any) -> None:
    first, second = rows.parked(), rows.parked()

    with pytest.raises(OptionError, match="must be Succeeded"):
        rows.external.signal_many([(first, said), (second, Succeeded(1))])

    assert rows.get(second)["kind"] is None
