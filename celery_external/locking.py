"""``lock_job``: look at a job and decide, while nobody else can."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from . import completion
from .checks import check_text
from .continuation import Continued
from .errors import AmbiguousJobError, JobNotFoundError, OptionError
from .job import Failed, Job, Receipt, Succeeded
from .naming import JobLike, known_id
from .store import read
from .store.place import Place, within
from .view import job_from

if TYPE_CHECKING:
    from celery.canvas import Signature

    from .installation import Installation
    from .store.database import Row


class LockedJob:
    """A job that nobody else can decide until the ``with`` block of ``lock_job`` ends."""

    def __init__(self, installation: Installation, place: Place, job: Job) -> None:
        self._installation = installation
        self._place = place
        #: The job as it stood when it was locked.
        self.job = job

    def __repr__(self) -> str:
        return f"<LockedJob {self.job.task}[{self.job.id}] attempt {self.job.attempt}>"

    @property
    def transaction(self) -> Place:
        """For ``using=``: what joins it counts together with what is said here."""
        return self._place

    @property
    def id(self) -> str:
        """The task id."""
        return self.job.id

    @property
    def task(self) -> str:
        """The task's name."""
        return self.job.task

    @property
    def state(self) -> str:
        """As it was when it was locked."""
        return self.job.state

    @property
    def args(self) -> Sequence[Any] | None:
        """Its positional arguments; None where this app does not accept their serializer."""
        return self.job.args

    @property
    def kwargs(self) -> Mapping[str, Any] | None:
        """Its keyword arguments, or None likewise."""
        return self.job.kwargs

    @property
    def meta(self) -> Mapping[str, Any]:
        """What is shown of it."""
        return self.job.meta

    def succeed(
        self,
        result: Any = None,
        *,
        continue_with: Signature[Any] | None = None,
        by: str | None = None,
        reason: str | None = None,
    ) -> Receipt:
        """As :meth:`External.signal_succeeded`, for the attempt that was locked.

        Raises:
            JobAlreadyCompletedError: It was completed before it was locked.
        """
        outcome = Succeeded(result) if continue_with is None else Continued(continue_with, result)
        return self._decide(outcome, by=by, reason=reason)

    def fail(self, reason: str | BaseException, *, by: str | None = None) -> Receipt:
        """As :meth:`External.signal_failed`, for the attempt that was locked.

        Raises:
            JobAlreadyCompletedError: It was completed before it was locked.
        """
        return self._decide(Failed(reason), by=by)

    def _decide(
        self, outcome: Succeeded | Failed | Continued, *, by: str | None, reason: str | None = None
    ) -> Receipt:
        return completion.signal(
            self._installation,
            self.job,
            outcome,
            attempt=self.job.attempt,
            by=by,
            reason=reason,
            using=self._place,
        )


@contextmanager
def lock(
    installation: Installation,
    job: JobLike | None,
    *,
    root_id: str | None,
    task: str | None,
    using: Any,
) -> Iterator[LockedJob | None]:
    """Lock a job by its id, or the one open job of a canvas."""
    if (job is None) == (root_id is None):
        raise OptionError("lock_job", "takes either a job or root_id=")
    if job is not None and task is not None:
        raise OptionError("task", "says which job of a canvas is meant: it goes with root_id=")
    joined = installation.place(using)
    if using is not None and joined.defers:
        yield _find(installation, joined, job, root_id, task)
        return
    with within(joined) as place:
        yield _find(installation, place, job, root_id, task)


def _find(
    installation: Installation,
    place: Place,
    job: JobLike | None,
    root_id: str | None,
    task: str | None,
) -> LockedJob | None:
    if job is not None:
        job_id = known_id(installation, job)
        with place.alone() as tx:
            row = read.lock_one(tx, installation.namespace, job_id)
        if row is None:
            raise JobNotFoundError(job_id, installation.namespace, installation.database_name)
        return _locked(installation, place, row)
    root = check_text("root_id", root_id)
    name = None if task is None else check_text("task", task)
    with place.alone() as tx:
        rows = read.lock_canvas(tx, installation.namespace, root, name)
    if len(rows) > 1:
        raise AmbiguousJobError(root, [job_from(installation.app, row) for row in rows])
    return _locked(installation, place, rows[0]) if rows else None


def _locked(installation: Installation, place: Place, row: Row) -> LockedJob:
    return LockedJob(installation, place, job_from(installation.app, row))
