"""External: celery-external on one app, with everything that it can do to a job."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import completion, links, listing, locking, many, steering
from .continuation import Continued
from .installation import Installation, installation_of
from .job import Failed, Job, Page, Receipt, Succeeded
from .locking import LockedJob
from .naming import JobLike
from .operating import Operating
from .starting import watch_options
from .unlock import watch_unlock

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature

    from .tokens import Action, Expires


class External(Operating):
    """celery-external on one Celery app; :func:`get_external` gives it.

    Its methods need the database and, to have Celery go on, the broker. They do not need the
    task's code. Job ids may be given as text, UUID, AsyncResult or Job.

    Every method may raise DatabaseUnavailableError (nothing was recorded) and SchemaError (the
    database needs ``celery -A proj external upgrade``). What takes a job raises JobNotFoundError
    where there is none, and StaleAttemptError where its ``attempt=`` is over.

    Raises:
        SettingsError: An ``external_*`` setting cannot be used.
    """

    def __init__(self, app: Celery | None = None) -> None:
        self._installation: Installation = installation_of(app)
        # Held here: the installation does not keep its app alive.
        self._app = self._installation.app
        watch_options(self._app)
        watch_unlock(self._app)

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self._app

    def signal_succeeded(
        self,
        job: JobLike,
        result: Any = None,
        *,
        continue_with: Signature[Any] | None = None,
        attempt: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Receipt:
        """Say that the outside work has succeeded: the job's task returns ``result``.

        The first signal wins; once it is committed the job's message goes to the broker, or, if
        that is away, stays owed and is sent by the sweep.

        Arguments:
            job: Which job.
            result: What the task returns. It must suit the app's ``result_serializer``, and the
                task's ``result_type``, where this process knows the task and it declares one.
            continue_with: Another step, external or not, in the job's place, as
                ``Task.replace``: it has the same id, and the rest of the chain or chord follows
                it. A ``result`` that is given as well is its first argument, as in a chain.
            attempt: Count for this attempt or for none. Pass it wherever a call may be repeated
                or late. Default: whichever attempt is open.
            by: Who says so, for the history.
            reason: Why, for the history.
            using: An SQLAlchemy Connection or Session, or the alias of a Django database, whose
                transaction the call joins: nothing is to be seen or sent before its commit, and
                a rollback leaves nothing. (Not ``connection=``, Celery's word for a broker's.)

        Returns:
            A Receipt: ``applied``, or ``duplicate`` when the same was said before.

        Raises:
            JobAlreadyCompletedError: Another outcome came first; it carries the Job.
            ResultInvalidError: The result is not of the task's ``result_type``; the job waits on.
            UnserializableError: The result, or the step, cannot be serialized; nothing was written.
            OptionError: ``continue_with`` is no signature, or ``using`` cannot be joined.
        """
        return completion.signal(
            self._installation,
            job,
            Succeeded(result) if continue_with is None else Continued(continue_with, result),
            attempt=attempt,
            by=by,
            reason=reason,
            using=using,
        )

    def signal_failed(
        self,
        job: JobLike,
        reason: str | BaseException,
        *,
        attempt: int | None = None,
        by: str | None = None,
        using: Any = None,
    ) -> Receipt:
        """Say that the outside work has failed: the job's task raises.

        ``reason`` is a text, which is raised as ExternalJobFailed, or the exception to raise, where
        the serializer can carry it; ``attempt``, ``by`` and ``using`` are as of
        :meth:`signal_succeeded`.

        Raises:
            JobAlreadyCompletedError: Another outcome came first; it carries the Job.
        """
        return completion.signal(
            self._installation, job, Failed(reason), attempt=attempt, by=by, using=using
        )

    def signal_progress(
        self,
        job: JobLike,
        current: float | None = None,
        total: float | None = None,
        message: str | None = None,
        *,
        attempt: int | None = None,
        using: Any = None,
    ) -> None:
        """Say how far the outside work is. Of a parked job it is also the heartbeat.

        Raises:
            JobAlreadyCompletedError: The job is not open any more.
        """
        steering.report_progress(
            self._installation, job, current, total, message, attempt=attempt, using=using
        )

    def signal_many(
        self,
        outcomes: Iterable[many.Given],
        *,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> list[Receipt]:
        """Record many outcomes at once, in one statement on PostgreSQL.

        ``outcomes`` are pairs of a job and its outcome; with an attempt as the third, it counts
        for that attempt or for none. ``reason``, of the successes, ``by`` and ``using`` are as of
        :meth:`signal_succeeded`.

        Returns:
            One Receipt for each, in order. A refused one has ``status == "refused"`` and the
            ``error`` that a single signal would have raised; the others count all the same. Of
            two for the same job the first counts.

        Raises:
            UnserializableError: A result cannot be serialized; nothing was written.
        """
        return many.signal_many(self._installation, outcomes, by=by, reason=reason, using=using)

    def cancel_job(
        self,
        job: JobLike,
        *,
        attempt: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Receipt:
        """Call a job off: its row is REVOKED, its task raises ExternalJobCancelled.

        Never retried, whatever ``autoretry_for`` says; errbacks and the rest of the canvas end.

        Raises:
            JobAlreadyCompletedError: An outcome came first; it carries the Job.
        """
        return completion.cancel(
            self._installation, job, attempt=attempt, by=by, reason=reason, using=using
        )

    def rerun_job(
        self,
        job: JobLike,
        *,
        attempt: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Job:
        """Run the trigger again, as a new attempt, for a job that is PARKED, FAILURE or REVOKED.

        ``attempt`` is the one that is to be over; default: whichever is on.

        Raises:
            RerunRefusedError: It runs or succeeded, or is a member of a failed chord.
        """
        return steering.rerun(
            self._installation, job, attempt=attempt, by=by, reason=reason, using=using
        )

    def extend_job(
        self,
        job: JobLike,
        *,
        timeout: float | timedelta | None = None,
        deadline: datetime | None = None,
        attempt: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Job:
        """Move the deadline of an open job, either way.

        ``timeout`` is in seconds from now, by the database's clock, ``deadline`` an aware datetime;
        the others are as of :meth:`signal_succeeded`.

        Raises:
            OptionError: Neither or both were given, or a naive datetime.
            JobAlreadyCompletedError: The job is not open any more.
        """
        return steering.extend(
            self._installation,
            job,
            timeout=timeout,
            deadline=deadline,
            attempt=attempt,
            by=by,
            reason=reason,
            using=using,
        )

    def lock_job(
        self,
        job: JobLike | None = None,
        *,
        root_id: str | None = None,
        task: str | None = None,
        using: Any = None,
    ) -> AbstractContextManager[LockedJob | None]:
        """Look at a job, then decide, while nobody else can: a ``with`` block for a LockedJob.

        Other signals, the sweep and workers wait for it or pass over it. Leaving without a word
        changes nothing, and an exception undoes what was said.

        Arguments:
            job: Which job.
            root_id: Or the one open job of this canvas; the manager then may give None.
            task: Of that canvas, the open job of the task with this name.
            using: A transaction to join. Default: one of our own, committed at the end.

        Raises:
            AmbiguousJobError: Several jobs of the canvas are open; it names them.
            OptionError: Neither or both of ``job`` and ``root_id`` were given.
        """
        return locking.lock(self._installation, job, root_id=root_id, task=task, using=using)

    def token(self, job: JobLike, action: Action, *, expires: Expires = None) -> str:
        """A signed token that lets its holder do one thing to one attempt of a job.

        Arguments:
            job: Which job; of a Job the attempt that it shows, otherwise the present one.
            action: ``succeed``, ``fail``, ``decide`` (either) or ``view``.
            expires: Seconds from now, by this host's clock, or an aware datetime. Default: 30 days.

        Raises:
            SettingsError: ``external_secret_keys`` is not set.
            OptionError: There is no such action.
        """
        return links.token(self._installation, job, action, expires)

    def callback_url(self, job: JobLike, action: Action, *, expires: Expires = None) -> str:
        """A URL with such a :meth:`token`, at the receiver of ``celery_external.webhooks``.

        A machine POSTs JSON there; a person who opens it is shown a page to confirm on.

        Raises:
            SettingsError: ``external_base_url`` or ``external_secret_keys`` is not set.
            OptionError: There is no such action.
        """
        return links.callback_url(self._installation, job, action, expires)

    def get_job(self, job: JobLike, *, using: Any = None) -> Job:
        """The job as it stands, with its history."""
        return steering.get(self._installation, job, using=using)

    def find_jobs(
        self,
        *,
        labels: Sequence[str] | None = None,
        meta: Mapping[str, Any] | None = None,
        order: str = "-parked",
        limit: int = 50,
        after: str | None = None,
        using: Any = None,
        **filters: Any,
    ) -> Page:
        """Jobs that fit all filters, in order.

        Arguments:
            labels: All of these labels.
            meta: Meta that contains this JSON.
            order: ``created``, ``parked`` or ``completed``; with ``-``: newest first. A job
                without that time is not in the list.
            limit: At most so many; 1 to 1000.
            after: The ``next`` of the page before.
            using: A transaction to read in.
            **filters: ``state``, ``task``, ``reference``, ``root_id``, ``parent_id``,
                ``group_id``, ``queue``, ``kind``, ``completed_by``, ``attempt``: equal to;
                ``settled``: True, or False for owed; ``owed``, ``stuck`` and ``overdue`` (the
                sweep should have looked at it by now): True or False; ``created_before``,
                ``created_since``, and ``parked_``, ``completed_`` and ``deadline_`` likewise:
                aware datetimes.

        Raises:
            OptionError: A filter, order, limit or ``after`` cannot be used.
        """
        return listing.find(
            self._installation,
            {**filters, "labels": labels, "meta": meta},
            order=order,
            limit=limit,
            after=after,
            using=using,
        )


def get_external(app: Celery | None = None) -> External:
    """celery-external on ``app``; default: Celery's current app.

    Raises:
        SettingsError: An ``external_*`` setting cannot be used.
    """
    if app is None:
        app = installation_of().app
    # Kept on the app itself: neither outlives the other.
    found: External | None = getattr(app, _KEPT, None)
    if found is None:
        found = External(app)
        setattr(app, _KEPT, found)
    return found


_KEPT = "_celery_external"
