"""A job as the caller sees it: frozen values, no database and no Celery behind them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, overload

from . import states
from .errors import ExternalError


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The outcome "it worked". Returned by a trigger it ends the job without parking."""

    result: Any = None


@dataclass(frozen=True, slots=True)
class Failed:
    """The outcome "it did not work": a text, or an exception for ``AsyncResult.get()`` to raise.

    Returned by a trigger it ends the job without parking.
    """

    reason: str | BaseException


@dataclass(frozen=True, slots=True)
class Progress:
    """How far the outside work is, as it last said."""

    current: float | None = None
    total: float | None = None
    message: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class HistoryEntry:
    """One line of a job's history: what happened, to which attempt, when, by whom and why."""

    event: str
    attempt: int
    at: datetime
    by: str | None = None
    reason: str | None = None
    details: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Job:
    """A snapshot of one ExternalTask call. Times are aware, in UTC, by the database's clock.

    Attributes:
        id: The Celery task id.
        task: The task's name; ``shadow`` is its display name, if it was given one.
        state: PENDING, STARTED, PARKED, RETRY, SUCCESS, FAILURE or REVOKED.
        settled: The outcome is final and Celery has been told. A failure that Celery is about to
            retry is FAILURE for a moment, but not settled.
        stuck: Celery was sent the job as often as is reasonable and never took it.
        labels: What to filter by.
        meta: What to show; JSON.
        args: Positional arguments, or None when this app does not accept their serializer.
        kwargs: Keyword arguments, or None likewise.
        argsrepr: The arguments as Celery shows them to people (``kwargsrepr`` likewise).
        attempt: Counted from 1; a retry and a rerun are new attempts.
        reference: The outside system's id for the work.
        queue: Where the job's message goes.
        root_id: The canvas it belongs to (``parent_id`` and ``group_id`` likewise).
        deadline: When the job times out, unless someone says something before.
        kind: succeeded, failed, timed_out, lost, cancelled or continued; None while open.
        result: What a succeeded job returned, decoded.
        reason: Why, in words.
        completed_by: Who said it; None when no one said.
        trigger_result: What the trigger returned when the job parked.
        sends: How often the message was sent again.
        history: Oldest first; only :func:`get_job` loads it.
    """

    id: str
    namespace: str
    task: str
    state: str
    settled: bool
    stuck: bool
    attempt: int
    shadow: str | None = None
    labels: tuple[str, ...] = ()
    meta: Mapping[str, Any] = field(default_factory=dict)
    args: Sequence[Any] | None = None
    kwargs: Mapping[str, Any] | None = None
    argsrepr: str | None = None
    kwargsrepr: str | None = None
    reference: str | None = None
    queue: str | None = None
    root_id: str | None = None
    parent_id: str | None = None
    group_id: str | None = None
    created_at: datetime | None = None
    started_at: datetime | None = None
    parked_at: datetime | None = None
    deadline: datetime | None = None
    completed_at: datetime | None = None
    completed_by: str | None = None
    kind: str | None = None
    result: Any = None
    reason: str | None = None
    trigger_result: Any = None
    progress: Progress | None = None
    sends: int = 0
    history: tuple[HistoryEntry, ...] = ()

    @property
    def is_open(self) -> bool:
        """Whether an outcome is still wanted."""
        return self.state in states.OPEN_STATES


@dataclass(frozen=True, slots=True)
class Page(Sequence[Job]):
    """Some jobs in order; ``next`` is the ``after=`` of the page behind, None on the last one."""

    jobs: tuple[Job, ...]
    next: str | None = None

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | Sequence[Job]:
        return self.jobs[index]

    def __len__(self) -> int:
        return len(self.jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self.jobs)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of a signal.

    Attributes:
        job_id: The job it was for, and ``attempt``, the attempt it counts for.
        status: ``applied``, or ``duplicate`` when the same had been said before; of
            ``signal_many`` also ``refused``, with the ``error`` that says why; by reference also
            ``kept``, when no job has the reference yet (``job_id`` is then empty, ``attempt`` 0).
        early: The job had not parked; its trigger does not run, or hands the outcome on.
        sent: The broker has the message. False: the job's own worker hands the outcome on, or
            the broker is away and the sweep sends it later.
    """

    job_id: str
    attempt: int
    status: str
    early: bool = False
    sent: bool = False
    error: ExternalError | None = None
