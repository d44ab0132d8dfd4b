"""Words that do not count: ids that are none, values that no database keeps, refused reruns."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from typing import Any
from uuid import UUID

import pytest
from celery.result import AsyncResult

from celery_external import (
    JobNotFoundError,
    OptionError,
    RerunRefusedError,
    Succeeded,
    UnserializableError,
)
from tests.events import GRACE
from tests.rows import NO_BROKER, In, Rows

# --- Ids ------------------------------------------------------------------------------------------


def test_a_job_may_be_named_by_whatever_carries_its_id(rows: Rows) -> None:
    forms: list[Callable[[str], Any]] = [
        str,
        UUID,
        rows.external.get_job,
        lambda job_id: AsyncResult(job_id, app=rows.app),
    ]
    for form in forms:
        job_id = rows.parked()
        assert rows.external.signal_succeeded(form(job_id)).job_id == job_id


@pytest.mark.parametrize(
    "job_id",
    ["unknown", "", "with\x00nul", "lone \ud800 surrogate", "x" * 10_000],
    ids=["unknown", "empty", "nul", "surrogate", "long"],
)
def test_an_unknown_id(rows: Rows, job_id: str) -> None:
    with pytest.raises(JobNotFoundError) as caught:
        rows.external.signal_succeeded(job_id)

    assert str(caught.value) == (
        f"There is no job {job_id!r} in namespace 'default' of {rows.external.database_name}. "
        "Is external_database_url the one that the workers use?"
    )
    with pytest.raises(JobNotFoundError):
        rows.external.get_job(job_id)
    with pytest.raises(JobNotFoundError):
        rows.external.rerun_job(job_id)


@pytest.mark.parametrize("job", [b"bytes", 5, None, ["id"]])
def test_what_is_no_id(rows: Rows, job: Any) -> None:
    with pytest.raises(OptionError) as caught:
        rows.external.signal_succeeded(job)
    assert str(caught.value) == f"job: must be a task id, an AsyncResult or a Job, not {job!r}"


def test_a_job_of_another_namespace_is_unknown(rows: Rows, database_url: str) -> None:
    job_id = rows.parked()
    with (
        closing(Rows(database_url, external_namespace="other")) as other,
        pytest.raises(JobNotFoundError, match=f"no job '{job_id}' in namespace 'other'"),
    ):
        other.external.signal_succeeded(job_id)


# --- What cannot be written -----------------------------------------------------------------------


class Unheard(Exception):  # noqa: N818 - an outcome
    """An exception that cannot be rebuilt from its arguments."""

    def __init__(self, one: str, *, two: str) -> None:
        super().__init__(f"{one} {two}")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda e, job_id: e.signal_succeeded(job_id, by=5),
            "by: must be a text, not 5",
        ),
        (
            lambda e, job_id: e.signal_succeeded(job_id, reason="\x00"),
            "reason: must not contain NUL characters",
        ),
        (
            lambda e, job_id: e.signal_failed(job_id, "\ud800"),
            "reason: must not contain lone surrogates",
        ),
        (lambda e, job_id: e.signal_failed(job_id, None), "reason: must be a text, not None"),
        (
            lambda e, job_id: e.cancel_job(job_id, by="\x00"),
            "by: must not contain NUL characters",
        ),
        *(
            (
                lambda e, job_id, n=n: e.signal_succeeded(job_id, attempt=n),
                f"attempt: must be a number from 1, not {n!r}",
            )
            for n in (0, -1, True, "1", 1.0, 1 << 31)
        ),
        *(
            (
                lambda e, job_id, n=n: e.signal_progress(job_id, n),
                f"current: must be a finite number, not {n!r}",
            )
            for n in (float("nan"), float("inf"), True, "1")
        ),
        (
            lambda e, job_id: e.signal_progress(job_id, 1, 2, "\x00"),
            "message: must not contain NUL characters",
        ),
        (
            lambda e, job_id: e.signal_many([(job_id, "done")]),
            "outcome: must be Succeeded(...) or Failed(...), not 'done'",
        ),
    ],
)
def test_a_word_that_cannot_be_used(
    rows: Rows, call: Callable[[Any, str], object], message: str
) -> None:
    job_id = rows.parked()
    before = rows.get(job_id)

    with pytest.raises(OptionError) as caught:
        call(rows.external, job_id)

    assert str(caught.value) == message
    assert (rows.get(job_id), rows.events(job_id), rows.sent()) == (before, [], [])


def test_a_result_that_the_serializer_refuses(rows: Rows) -> None:
    job_id = rows.parked()
    before = rows.get(job_id)

    for call in (
        lambda: rows.external.signal_succeeded(job_id, object()),
        lambda: rows.external.signal_many([(job_id, Succeeded(1)), (job_id, Succeeded(object()))]),
    ):
        with pytest.raises(UnserializableError, match=r"^The result cannot be written with the"):
            call()

    assert (rows.get(job_id), rows.events(job_id), rows.sent()) == (before, [], [])


def test_an_exception_that_cannot_be_carried_is_told_in_words(rows: Rows) -> None:
    job_id = rows.parked()
    rows.external.signal_failed(job_id, Unheard("no", two="way"))

    row = rows.get(job_id)
    assert (row["kind"], row["outcome"], row["reason"]) == ("failed", None, "Unheard: no way")


# --- A rerun --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "shown"),
    [("pending", "PENDING"), ("retry", "RETRY"), ("started", "STARTED"), ("owed", "SUCCESS")],
)
def test_a_rerun_is_refused(rows: Rows, state: str, shown: str) -> None:
    job_id = getattr(rows, state)()
    before, noted = rows.get(job_id), rows.events(job_id)

    with pytest.raises(RerunRefusedError) as caught:
        rows.external.rerun_job(job_id)

    assert str(caught.value) == (
        f"Job {job_id} cannot be run again: it is {shown}, not PARKED, FAILURE or REVOKED"
    )
    assert (rows.get(job_id), rows.events(job_id), rows.sent()) == (before, noted, [])


def test_a_rerun_is_the_next_attempt(rows: Rows) -> None:
    job_id = rows.parked(timeout=100)
    rows.external.signal_failed(job_id, "no", by="bob")
    rows.sent()

    job = rows.external.rerun_job(job_id, by="alice", reason="once more")

    assert (job.state, job.attempt, job.kind, job.deadline) == ("PENDING", 2, None, None)
    assert rows.sent() == [(job_id, 2)]
    line = rows.external.get_job(job_id).history[-1]
    assert (line.event, line.attempt, line.by, line.reason) == ("rerun", 2, "alice", "once more")
    assert (line.details["attempt"], line.details["reference"]) == (1, None)
    assert all(line.details[name] for name in ("started_at", "parked_at", "completed_at"))


def test_a_rerun_while_the_broker_is_away_is_sent_by_the_sweep(
    rows: Rows, database_url: str
) -> None:
    job_id = rows.parked()

    with closing(Rows(database_url, broker_url=NO_BROKER)) as cut_off:
        cut_off.external.rerun_job(job_id)

    assert rows.get(job_id)["wake_at"] == In(GRACE)
    rows.move(job_id, wake_at=-1)
    rows.external.sweep()
    assert rows.sent() == [(job_id, 2)]
