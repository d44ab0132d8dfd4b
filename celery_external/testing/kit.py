"""The kit: what a test does in the place of workers, of the sweep and of the outside world."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, overload

from celery_external.checks import as_seconds
from celery_external.errors import OptionError
from celery_external.extension import get_external
from celery_external.installation import installation_of
from celery_external.job import Failed, Job, Progress, Succeeded
from celery_external.listing import MAX_LIMIT

from . import clock, draining, report

if TYPE_CHECKING:
    from celery import Celery
    from celery.app.task import Task

    from celery_external.naming import JobLike

#: More messages than a test has; fewer than make it seem to hang.
DEFAULT_LIMIT = 1000


class Kit:
    """One app under test, whose messages run in this process when the test says so.

    The app's broker must be ``memory://``; :func:`in_memory` sees to everything.

    Every method that goes on (``drain``, ``signal``, ``expire``, ``shift``, ``sweep``) runs all
    messages until none is left. An eta or countdown is not waited for.

    Arguments:
        app: The app. Default: Celery's current app.

    Raises:
        SettingsError: The app's broker is another, or the app is eager.
    """

    def __init__(self, app: Celery | None = None) -> None:
        self.external = get_external(app)
        self._installation = installation_of(self.external.app)
        draining.check(self._installation)

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self.external.app

    # --- Going on ---

    def drain(self, limit: int = DEFAULT_LIMIT) -> int:
        """Run the messages in the app's queues, and what these send, until none is left.

        Each is run as a worker would, with Celery's own tracer: chains, chords, retries, link and
        link_error go on, and what a task raises is recorded and not raised here. A message for a
        task that this app does not have stays in its queue, which is logged.

        Arguments:
            limit: At most so many messages.

        Returns:
            How many were run.

        Raises:
            DrainLimitError: There were more; most likely a task retries itself without end.
        """
        return draining.drain(self._installation, limit)

    def sweep(self) -> int:
        """Do what is due, as the sweep does, and go on.

        Returns:
            How many jobs were due.
        """
        due = self.external.sweep()
        self.drain()
        return due

    def signal(
        self,
        job: JobLike,
        outcome: Succeeded | Failed | Progress,
        *,
        attempt: int | None = None,
        by: str | None = None,
    ) -> Job:
        """Say what the outside world says of a job, and go on.

        Arguments:
            job: Which job.
            outcome: ``Succeeded(result)``, ``Failed(reason)`` or ``Progress(current, total)``.
            attempt: Count for this attempt or for none; default: whichever is open.
            by: Who says so, for the history.

        Returns:
            The job as it then is.

        Raises:
            JobNotFoundError: There is no such job.
            JobAlreadyCompletedError: Another outcome came first; it carries the Job.
            StaleAttemptError: ``attempt`` is over.
        """
        try:
            self._say(job, outcome, attempt, by)
        finally:
            # Also a word that came too late may have a task look at it.
            self.drain()
        return self.external.get_job(job)

    def _say(
        self,
        job: JobLike,
        outcome: Succeeded | Failed | Progress,
        attempt: int | None,
        by: str | None,
    ) -> None:
        external = self.external
        match outcome:
            case Succeeded(result):
                external.signal_succeeded(job, result, attempt=attempt, by=by)
            case Failed(reason):
                external.signal_failed(job, reason, attempt=attempt, by=by)
            case Progress(current, total, message):
                external.signal_progress(job, current, total, message, attempt=attempt)
            case _:
                raise OptionError(
                    "outcome", f"must be Succeeded, Failed or Progress, not {outcome!r}"
                )

    # --- Time ---

    def expire(self, job: JobLike) -> Job:
        """Have the time pass for one job until its deadline, so that it times out, and go on.

        Returns:
            The job as it then is.

        Raises:
            JobNotFoundError: There is no such job.
            OptionError: It has no deadline, or is not open any more.
        """
        clock.pass_deadline(self._installation, self.external.get_job(job))
        self.sweep()
        return self.external.get_job(job)

    def shift(self, time: float | timedelta) -> int:
        """Have so much time pass for all jobs, and go on.

        What is in the queues is run first. Then all times in the database move back, so that the
        database's clock looks as if it had gone on: timeouts, heartbeats, polls and repeats that
        are due then happen, once each. What they start begins at the end of that time. Nothing
        else moves: neither ``datetime.now()`` nor the expiry of tokens and signatures.

        Arguments:
            time: Seconds, or a timedelta.

        Returns:
            How many jobs were due.

        Raises:
            OptionError: It is no positive time.
        """
        seconds = as_seconds(time)
        if seconds is None or seconds <= 0:
            raise OptionError("time", f"must be a positive number of seconds, not {time!r}")
        self.drain()
        clock.shift(self._installation, seconds)
        return self.sweep()

    # --- Looking ---

    def parked(
        self,
        task: str | Task[..., Any] | None = None,
        *,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        reference: str | None = None,
        **filters: Any,
    ) -> list[Job]:
        """The parked jobs that fit, those that parked first in front.

        Arguments:
            task: Of this task, or of the task with this name.
            labels: With all of these labels.
            meta: With meta that contains this JSON.
            reference: With the outside system's id.
            **filters: More, as of :meth:`External.find_jobs`.

        Raises:
            OptionError: A filter cannot be used.
        """
        name = getattr(task, "name", task)
        return self._find_all(
            state="PARKED", task=name, labels=labels, meta=meta, reference=reference,
            order="parked", **filters,
        )  # fmt: skip

    @overload
    def assert_parked(
        self,
        task: str | Task[..., Any] | None = None,
        *,
        count: Literal[1] = 1,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        reference: str | None = None,
        **filters: Any,
    ) -> Job: ...
    @overload
    def assert_parked(
        self,
        task: str | Task[..., Any] | None = None,
        *,
        count: int,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        reference: str | None = None,
        **filters: Any,
    ) -> list[Job]: ...
    def assert_parked(
        self,
        task: str | Task[..., Any] | None = None,
        *,
        count: int = 1,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        reference: str | None = None,
        **filters: Any,
    ) -> Job | list[Job]:
        """Exactly so many jobs that fit are parked; the error shows what there is instead.

        Arguments:
            task: As of :meth:`parked`, and the other filters likewise.
            count: How many.
            labels: With all of these labels.
            meta: With meta that contains this JSON.
            reference: With the outside system's id.
            **filters: More, as of :meth:`External.find_jobs`.

        Returns:
            The job; with another ``count`` a list.

        Raises:
            AssertionError: There are more, or fewer.
        """
        given = {"labels": labels, "meta": meta, "reference": reference, **filters}
        found = self.parked(task, **given)
        if len(found) != count:
            self._fail(count, task, given, len(found))
        return found[0] if count == 1 else found

    def assert_not_parked(
        self,
        task: str | Task[..., Any] | None = None,
        *,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        reference: str | None = None,
        **filters: Any,
    ) -> None:
        """No job that fits is parked; filters are those of :meth:`parked`.

        Raises:
            AssertionError: There is one.
        """
        self.assert_parked(task, count=0, labels=labels, meta=meta, reference=reference, **filters)

    def _fail(self, count: int, task: Any, given: Mapping[str, Any], found: int) -> None:
        wanted = report.describe({"task": getattr(task, "name", task), **given})
        jobs = "job" if count == 1 else "jobs"
        lines = [f"Expected {count or 'no'} parked {jobs}{wanted}, found {found or 'none'}."]
        lines.append(report.tabulate(self._find_all(order="created")))
        waiting = draining.count_waiting(self.app)
        if waiting:
            lines.append(f"Messages in the queues, which drain() runs: {waiting}.")
        raise AssertionError("\n".join(lines))

    def _find_all(self, **filters: Any) -> list[Job]:
        found: list[Job] = []
        page = self.external.find_jobs(**filters, limit=MAX_LIMIT)
        found.extend(page)
        while page.next is not None:
            page = self.external.find_jobs(**filters, limit=MAX_LIMIT, after=page.next)
            found.extend(page)
        return found
