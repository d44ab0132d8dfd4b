"""What callers are told of their signals: receipts, refusals, and who hears of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from typing import Any

import pytest
from celery.utils.dispatch import Signal

from celery_external import (
    Failed,
    JobAlreadyCompletedError,
    JobNotFoundError,
    Receipt,
    StaleAttemptError,
    Succeeded,
    signals,
)
from tests.events import GRACE
from tests.rows import NO_BROKER, In, Rows


@contextmanager
def heard(signal: Signal) -> Iterator[list[dict[str, Any]]]:
    """What a receiver of the signal was called with."""
    calls: list[dict[str, Any]] = []

    def receive(**kwargs: Any) -> None:
        calls.append({name: value for name, value in kwargs.items() if name != "signal"})

    signal.connect(receive, weak=False)
    try:
        yield calls
    finally:
        signal.disconnect(receive)


# --- Receipts -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "early", "sent"),
    [
        ("pending", True, True),
        ("retry", True, True),
        ("started", True, False),
        ("parked", False, True),
    ],
)
def test_an_applied_signal(rows: Rows, state: str, early: bool, sent: bool) -> None:  # noqa: FBT001
    job_id = getattr(rows, state)()
    attempt = rows.get(job_id)["attempt"]

    with heard(signals.job_completed) as calls:
        receipt = rows.external.signal_succeeded(job_id, 1)

    assert receipt == Receipt(job_id, attempt=attempt, status="applied", early=early, sent=sent)
    completed, parked = rows.get(job_id)["completed_at"], rows.get(job_id)["parked_at"]
    (call,) = calls
    assert call == {
        "sender": rows.app,
        "job_id": job_id,
        "task": rows.task.name,
        "attempt": attempt,
        "kind": "succeeded",
        "waited": (completed - parked).total_seconds() if parked else None,
    }
    assert (call["waited"] is None) == early


@pytest.mark.parametrize("again", [1, 1.0, True])
def test_an_equal_result_again_is_a_duplicate(rows: Rows, again: object) -> None:
    job_id = rows.owed()

    with heard(signals.job_completed) as calls:
        receipt = rows.external.signal_succeeded(job_id, again, by="a late one")

    assert receipt == Receipt(job_id, attempt=1, status="duplicate")
    assert (calls, rows.sent(), rows.events(job_id)) == ([], [], ["succeeded"])


@pytest.mark.parametrize("reason", ["no", ValueError("no"), LookupError("who")])
def test_an_equal_failure_again_is_a_duplicate(rows: Rows, reason: str | Exception) -> None:
    job_id = rows.parked()
    assert rows.external.signal_failed(job_id, reason).status == "applied"
    assert rows.external.signal_failed(job_id, reason).status == "duplicate"


def test_a_cancellation_again_is_a_duplicate(rows: Rows) -> None:
    job_id = rows.parked()
    assert rows.external.cancel_job(job_id, reason="one").status == "applied"
    assert rows.external.cancel_job(job_id, reason="another").status == "duplicate"


def test_a_signal_while_the_broker_is_away_is_owed(rows: Rows, database_url: str) -> None:
    job_id = rows.parked()

    with closing(Rows(database_url, broker_url=NO_BROKER)) as cut_off:
        began = time.monotonic()
        receipt = cut_off.external.signal_succeeded(job_id, 1)
        took = time.monotonic() - began

    assert receipt == Receipt(job_id, attempt=1, status="applied", sent=False)
    assert took < 5
    row = rows.get(job_id)
    assert (row["state"], row["claim"], row["wake_at"]) == ("SUCCESS", None, In(GRACE))
    rows.move(job_id, wake_at=-1)
    assert rows.external.sweep() == 1
    assert rows.sent() == [(job_id, 1)]


# --- Refusals -------------------------------------------------------------------------------------


def test_another_outcome_is_refused_and_carries_the_one_that_counts(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = rows.parked()
    rows.external.signal_succeeded(job_id, {"ok": True}, by="alice")
    before = rows.get(job_id)

    with (
        heard(signals.signal_refused) as calls,
        caplog.at_level(logging.WARNING, "celery_external"),
        pytest.raises(JobAlreadyCompletedError) as caught,
    ):
        rows.external.signal_failed(job_id, "too late", by="bob")

    job = caught.value.job
    assert (job.state, job.result, job.completed_by) == ("SUCCESS", {"ok": True}, "alice")
    message = (
        f"Job {job_id} cannot be failed: it was already succeeded by alice at "
        f"{job.completed_at} (state SUCCESS)"
    )
    assert str(caught.value) == message
    assert caplog.messages == [f"Refused: {message}"]
    assert calls == [{"sender": rows.app, "job": job, "error": caught.value}]
    assert rows.get(job_id) == before
    _, line = rows.external.get_job(job_id).history
    assert (line.event, line.attempt, line.by, line.reason) == ("refused", 1, "bob", "too late")
    assert line.details == {"kind": "failed", "error": message}


REFUSED: dict[str, Callable[[Rows, str], object]] = {
    "completed": lambda rows, job_id: rows.external.signal_succeeded(job_id, 2),
    "failed": lambda rows, job_id: rows.external.signal_failed(job_id, "no"),
    "cancelled": lambda rows, job_id: rows.external.cancel_job(job_id),
    "extended": lambda rows, job_id: rows.external.extend_job(job_id, timeout=9),
    "reported on": lambda rows, job_id: rows.external.signal_progress(job_id, 1),
}


@pytest.mark.parametrize("what", REFUSED)
@pytest.mark.parametrize("state", ["early", "owed", "settled"])
def test_what_comes_after_the_outcome_is_refused(rows: Rows, state: str, what: str) -> None:
    job_id = getattr(rows, state)()
    before = rows.get(job_id)

    with pytest.raises(JobAlreadyCompletedError) as caught:
        REFUSED[what](rows, job_id)

    assert str(caught.value).startswith(f"Job {job_id} cannot be {what}: it was already succeeded")
    assert rows.get(job_id) == before
    assert rows.events(job_id) == ["succeeded", "refused"]


OF_AN_ATTEMPT: dict[str, Callable[[Rows, str, int], object]] = {
    "succeeded": lambda rows, job_id, n: rows.external.signal_succeeded(job_id, 2, attempt=n),
    "failed": lambda rows, job_id, n: rows.external.signal_failed(job_id, "no", attempt=n),
    "cancelled": lambda rows, job_id, n: rows.external.cancel_job(job_id, attempt=n),
    "extended": lambda rows, job_id, n: rows.external.extend_job(job_id, timeout=9, attempt=n),
    "progress": lambda rows, job_id, n: rows.external.signal_progress(job_id, 1, attempt=n),
}


@pytest.mark.parametrize("what", OF_AN_ATTEMPT)
@pytest.mark.parametrize("attempt", [1, 3])
def test_a_word_for_another_attempt_counts_for_none(rows: Rows, what: str, attempt: int) -> None:
    job_id = rows.retry()
    before = rows.get(job_id)

    with pytest.raises(StaleAttemptError) as caught:
        OF_AN_ATTEMPT[what](rows, job_id, attempt)

    assert str(caught.value) == (
        f"Job {job_id}: attempt {attempt} was named, but attempt 2 is the open one"
    )
    assert (caught.value.attempt, caught.value.current) == (attempt, 2)
    assert rows.get(job_id) == before
    assert rows.history(job_id)[-1]["details"] == {"kind": what, "error": str(caught.value)}
    OF_AN_ATTEMPT[what](rows, job_id, 2)
    assert rows.get(job_id) != before


# --- Many at once ---------------------------------------------------------------------------------


def test_thousands_are_decided_in_one_call(rows: Rows) -> None:
    job_ids = rows.copy(rows.parked(), 3000)

    receipts = rows.external.signal_many(
        [(i, Failed("no") if n % 3 else Succeeded(n)) for n, i in enumerate(job_ids)], by="batch"
    )

    assert receipts == [Receipt(i, attempt=1, status="applied", sent=True) for i in job_ids]
    assert rows.count(state="SUCCESS", completed_by="batch") == 1000
    assert rows.count(state="FAILURE", reason="no") == 2000
    assert sorted(rows.sent()) == sorted((job_id, 1) for job_id in job_ids)
    for job_id, event in zip(job_ids[:3], ["succeeded", "failed", "failed"], strict=True):
        (line,) = rows.history(job_id)
        assert (line["event"], line["by"], line["attempt"]) == (event, "batch", 1)
    assert rows.external.get_job(job_ids[3]).result == 3


def test_each_of_many_has_its_own_receipt_in_order(rows: Rows) -> None:
    parked, started, pending = rows.parked(), rows.started(), rows.pending()
    settled, failed = rows.settled(), rows.parked()
    rows.external.signal_failed(failed, "no")
    given: list[tuple[Any, Succeeded | Failed]] = [
        (settled, Succeeded(1)),
        (parked, Succeeded(2)),
        ("unknown", Succeeded(3)),
        ("\x00", Succeeded(3)),
        (started, Failed("early")),
        (failed, Succeeded(4)),
        (rows.external.get_job(pending), Succeeded(5)),
    ]

    receipts = rows.external.signal_many(given)

    assert [(r.job_id, r.status, r.early, r.sent) for r in receipts] == [
        (settled, "duplicate", False, False),
        (parked, "applied", False, True),
        ("unknown", "refused", False, False),
        ("\x00", "refused", False, False),
        (started, "applied", True, False),
        (failed, "refused", False, False),
        (pending, "applied", True, True),
    ]
    assert [type(receipt.error) for receipt in receipts if receipt.error] == [
        JobNotFoundError,
        JobNotFoundError,
        JobAlreadyCompletedError,
    ]
    assert rows.events(failed) == ["failed", "refused"]


def test_the_first_of_many_for_the_same_job_wins(rows: Rows) -> None:
    job_id, other = rows.parked(), rows.parked()

    receipts = rows.external.signal_many(
        [
            (job_id, Succeeded("first")),
            (other, Succeeded()),
            (job_id, Succeeded("first")),
            (job_id, Failed("last")),
        ]
    )

    assert [(r.job_id, r.status) for r in receipts] == [
        (job_id, "applied"),
        (other, "applied"),
        (job_id, "duplicate"),
        (job_id, "refused"),
    ]
    assert rows.external.get_job(job_id).result == "first"
    assert rows.events(job_id) == ["succeeded", "refused"]
    assert sorted(rows.sent()) == sorted([(job_id, 1), (other, 1)])


def test_none_of_many(rows: Rows) -> None:
    assert rows.external.signal_many([]) == []
