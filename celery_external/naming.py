"""How callers name jobs, and what they may say about them: checked before anything is written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias
from uuid import UUID

from celery.result import AsyncResult

from .checks import MAX_JOB_ID_LENGTH, check_text
from .errors import JobNotFoundError, OptionError
from .job import Job
from .store import read

if TYPE_CHECKING:
    from celery import Celery

    from .installation import Installation
    from .store.database import Row
    from .store.place import Place

#: How people name a job: its id, or whatever carries it.
JobLike: TypeAlias = "str | UUID | AsyncResult[Any] | Job"


def require_row(installation: Installation, place: Place, job_id: str) -> Row:
    """The job's row.

    Raises:
        JobNotFoundError: There is none.
    """
    with place.alone() as tx:
        row = read.get(tx, installation.namespace, job_id)
    if row is None:
        raise JobNotFoundError(job_id, installation.namespace, installation.database_name)
    return row


def known_id(installation: Installation, job: JobLike) -> str:
    """The id that was meant, if it can be one: a database need not be asked about the others."""
    job_id = id_of(job)
    if not can_be_id(job_id):
        raise JobNotFoundError(job_id, installation.namespace, installation.database_name)
    return job_id


def can_be_id(job_id: str) -> bool:
    """Whether a database can keep it."""
    try:
        check_text("job", job_id)
    except OptionError:
        return False
    return 0 < len(job_id) <= MAX_JOB_ID_LENGTH


def id_of(job: JobLike) -> str:
    """The id behind whatever a caller names a job by."""
    if isinstance(job, (Job, AsyncResult)):
        job = job.id
    if isinstance(job, UUID):
        job = str(job)
    if not isinstance(job, str):
        raise OptionError("job", f"must be a task id, an AsyncResult or a Job, not {job!r}")
    return job


def is_external(task: Any) -> bool:
    """Whether a task is one of ours (this module stands below the class)."""
    return hasattr(task, "send_replacement")


def external_tasks(app: Celery) -> dict[str, Any]:
    """The external tasks that an app knows, by their names."""
    return {name: task for name, task in list(app.tasks.items()) if is_external(task)}


def check_note(name: str, value: str | None) -> str | None:
    """A person's text for the history, or None."""
    return None if value is None else check_text(name, value)


def check_attempt(attempt: int | None) -> None:
    """Refuse what is no attempt."""
    if attempt is None:
        return
    if not isinstance(attempt, int) or isinstance(attempt, bool) or not 0 < attempt < 1 << 31:
        raise OptionError("attempt", f"must be a number from 1, not {attempt!r}")
