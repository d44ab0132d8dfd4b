"""Hostile input: each value is kept as it is, or refused by an error of ours before a write.

The same on both databases; what the worker makes of it: at the end. Options of a call:
``test_options.py``; other words and ids: ``test_states_refusals.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from math import inf, nan
from typing import Any
from uuid import UUID

import pytest
from celery import Celery
from celery.exceptions import Ignore, Reject, Retry
from celery.result import AsyncResult

from celery_external import (
    DatabaseUnavailableError,
    ExternalError,
    ExternalJobFailed,
    Failed,
    JobNotFoundError,
    OptionError,
    Succeeded,
    UnserializableError,
    states,
)
from tests.rows import Rows
from tests.systems import System
from tests.waiting import wait_for

MEGABYTE = 1 << 20
Call = Callable[[Rows, str], object]


@pytest.fixture(scope="module")
def both(make_database: Callable[[str], str]) -> Iterator[tuple[Rows, Rows]]:
    """The same app on each kind of database."""
    with (
        closing(Rows(make_database("SQLite"))) as sqlite,
        closing(Rows(make_database("PostgreSQL"))) as postgresql,
    ):
        yield sqlite, postgresql


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def circle() -> list[Any]:
    made: list[Any] = []
    made.append(made)
    return made


class Speechless(Exception):  # noqa: N818 - an outcome
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise RuntimeError

    __repr__ = __str__


def expect_refusal(rows: Rows, job_id: str, call: Call, error: type[ExternalError]) -> None:
    """The call raises exactly this, and leaves no trace."""
    before, number = rows.get(job_id), rows.count()
    with pytest.raises(error) as caught:
        call(rows, job_id)
    assert type(caught.value) is error
    assert (rows.get(job_id), rows.events(job_id), rows.sent()) == (before, [], [])
    assert rows.count() == number


# --- Results --------------------------------------------------------------------------------------

KEPT: dict[str, Any] = {
    "megabytes": "x" * (20 * MEGABYTE),
    "many parts": [{"n": n} for n in range(20_000)],
    "NUL": "a\x00b",
    "a lone surrogate": "\ud800",
    "odd keys": {"\x00": 1, "\ud800": 2, "": 3},
    "not a number": [nan, inf, -inf],
    "deep": nested(250),
    "bytes": b"\x00\xff",
    "a time": datetime(2999, 1, 1, tzinfo=UTC),
    "a UUID": UUID(int=1),
    "a decimal": Decimal("1.10"),
    "a large integer": 10**4000,
    "one of kombu's keys": {"__type__": "datetime"},
}
kept = pytest.mark.parametrize("name", KEPT)


@kept
def test_a_result_that_is_kept(both: tuple[Rows, Rows], name: str) -> None:
    for rows in both:
        job_id = rows.parked()
        assert rows.external.signal_succeeded(job_id, KEPT[name]).status == "applied"
        assert rows.external.signal_succeeded(job_id, KEPT[name]).status == "duplicate"
        found = rows.external.get_job(job_id).result
        # NaN is not equal to itself.
        assert (type(found), repr(found)) == (type(KEPT[name]), repr(KEPT[name]))
        assert rows.sent() == [(job_id, 1)]


REFUSED: dict[str, Any] = {
    "ten thousand levels": nested(10_000),
    "more levels than a worker's stack": nested(900),
    "a circle": circle(),
    "a key that is a number": {"a": [{1: "one"}]},
    "keys that become the same": {1: "one", "1": "uno"},
    "a key that is None": {None: 1},
    "a key that is a tuple": {(1, 2): 3},
    "a set": {1},
    "an object without words": Speechless(),
    "an integer that nobody reads": 10**5000,
    "what kombu would take for a time": {"__type__": "datetime", "__value__": "tomorrow"},
    "what kombu would take for bytes": [{"__value__": "YQ==", "__type__": "base64"}],
    "a generator": iter(()),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_result_that_is_refused(both: tuple[Rows, Rows], name: str) -> None:
    for rows in both:
        calls: list[Call] = [
            lambda rows, job_id: rows.external.signal_succeeded(job_id, REFUSED[name]),
            lambda rows, job_id: rows.external.signal_many(
                [(job_id, Succeeded(1)), (job_id, Succeeded(REFUSED[name]))]
            ),
        ]
        job_id = rows.parked()
        for call in calls:
            expect_refusal(rows, job_id, call, UnserializableError)


# --- Other words ----------------------------------------------------------------------------------

LONG = "\N{SNOWMAN}" * (2 * MEGABYTE)


def test_long_words_are_kept(both: tuple[Rows, Rows]) -> None:
    for rows in both:
        job_id = rows.parked(meta={"long": LONG}, labels=["x" * 255] * 32)
        rows.external.signal_progress(job_id, 1, 2, LONG)
        rows.external.signal_failed(job_id, LONG, by=LONG)
        job = rows.external.get_job(job_id)
        assert job.progress is not None
        assert (job.reason, job.completed_by, job.progress.message) == (LONG, LONG, LONG)
        assert job.meta == {"long": LONG}
        assert (job.history[-1].reason, job.history[-1].by) == (LONG, LONG)


REASONS: dict[str, tuple[BaseException, str]] = {
    "NUL": (ValueError("a\x00\ud800"), "ValueError: a\\x00\\ud800"),
    "no words": (Speechless(), "Speechless: <Speechless without words>"),
    "long": (ValueError(LONG), f"ValueError: {LONG}"),
    "an end of the process": (SystemExit(1), "SystemExit: 1"),
}


@pytest.mark.parametrize("name", REASONS)
def test_an_exception_is_told_in_words_that_can_be_kept(both: tuple[Rows, Rows], name: str) -> None:
    exc, words = REASONS[name]
    for rows in both:
        job_id = rows.parked()
        rows.external.signal_failed(job_id, exc)
        assert rows.external.get_job(job_id).reason == words


def start_with(name: str, value: Any) -> Call:
    """A call of the task with an option of Celery's."""
    return lambda rows, _: rows.task.apply_async(**{name: value})


WRONG_WORDS: dict[str, Call] = {
    "reason: bytes": lambda rows, i: rows.external.signal_failed(i, b"no"),  # type: ignore[arg-type]
    "reason: a class": lambda rows, i: rows.external.signal_failed(i, ValueError),  # type: ignore[arg-type]
    "reason of a success": lambda rows, i: rows.external.signal_succeeded(i, 1, reason="\ud800"),
    "by: a surrogate": lambda rows, i: rows.external.signal_many([(i, Failed("no"))], by="\ud800"),
    "rerun by": lambda rows, i: rows.external.rerun_job(i, by="\x00"),
    "extended by": lambda rows, i: rows.external.extend_job(i, timeout=5, by="\x00"),
    "a time out of reach": lambda rows, i: rows.external.extend_job(i, timeout=10**400),
    "a number larger than any": lambda rows, i: rows.external.signal_progress(i, 10**400),
    "a total larger than any": lambda rows, i: rows.external.signal_progress(i, 1, -(10**400)),
    "a message of bytes": lambda rows, i: rows.external.signal_progress(i, 1, 2, b"x"),  # type: ignore[arg-type]
    **{
        f"{name}: {text!r}": start_with(name, text)
        for name in ("root_id", "parent_id", "group_id", "queue", "shadow")
        for text in ("a\x00b", "\ud800")
    },
}


@pytest.mark.parametrize("name", WRONG_WORDS)
def test_a_word_that_is_refused(both: tuple[Rows, Rows], name: str) -> None:
    for rows in both:
        expect_refusal(rows, rows.parked(), WRONG_WORDS[name], OptionError)


def test_arguments_are_kept_as_the_message_has_them(both: tuple[Rows, Rows]) -> None:
    args = ("\x00\ud800", {"\x00": b"\xff"}, [nan])
    for rows in both:
        job = rows.external.get_job(rows.pending(args=args, headers={"mine": "\x00\ud800"}))
        assert repr(job.args) == repr(list(args))
        job_id = rows.pending()
        for wrong in ({1}, nested(10_000)):
            call = start_with("args", (wrong,))
            expect_refusal(rows, job_id, call, UnserializableError)


# --- Ids ------------------------------------------------------------------------------------------


class Name(str):
    """A text of another type."""

    __slots__ = ()


def test_ids_that_are_not_ours(both: tuple[Rows, Rows]) -> None:
    for rows in both:
        job_id = rows.parked()
        with closing(Celery("other", broker="memory://", set_as_current=False)) as other:
            unknown: Any = AsyncResult("of another app", app=other)
            for given in ("x" * MEGABYTE, job_id + "\x00", job_id.upper() + " ", unknown):
                for call in ("signal_succeeded", "cancel_job", "rerun_job", "get_job"):
                    with pytest.raises(JobNotFoundError):
                        getattr(rows.external, call)(given)
            (receipt,) = rows.external.signal_many([("x" * MEGABYTE, Succeeded(1))])
            assert isinstance(receipt.error, JobNotFoundError)
        assert rows.events(job_id) == []
        assert rows.external.signal_succeeded(Name(job_id)).job_id == job_id


# --- On a worker ----------------------------------------------------------------------------------

POISONS: list[BaseException] = [
    SystemExit(1),
    KeyboardInterrupt(),
    GeneratorExit(),
    Ignore(),
    Reject("no", requeue=True),
    Retry("later"),
    DatabaseUnavailableError("a database", "of somebody else's"),
    Speechless(),
]


def test_the_worker_hands_on_what_was_kept(system: System) -> None:
    results = {name: system.task("ask").delay() for name in KEPT}
    for name, result in results.items():
        system.external.signal_succeeded(system.wait_parked(result), KEPT[name])
    for name, result in results.items():
        found = result.get(timeout=60)
        assert (type(found), repr(found)) == (type(KEPT[name]), repr(KEPT[name])), name
        system.wait_settled(result)


def test_an_exception_that_means_something_to_a_worker_is_a_failure(system: System) -> None:
    results = [system.task("ask").delay() for _ in POISONS]
    for exc, result in zip(POISONS, results, strict=True):
        system.external.signal_failed(system.wait_parked(result), exc)
    for exc, result in zip(POISONS, results, strict=True):
        assert system.wait_settled(result).state == states.FAILURE, repr(type(exc))
        with pytest.raises(ExternalJobFailed, match=f"^{type(exc).__name__}: "):
            result.get(timeout=20)


@pytest.mark.parametrize("task_id", ["x" * 256, "a\x00b"], ids=["long", "NUL"])
def test_a_task_sent_by_name_with_an_id_that_cannot_be_kept(system: System, task_id: str) -> None:
    sent: Any = system.app.send_task(system.task("ask").name, task_id=task_id)
    wait_for(lambda: sent.state == "FAILURE", what="Celery to say that it failed")
    assert "OptionError" in repr(sent.result)
    with pytest.raises(JobNotFoundError):
        system.get(task_id)
