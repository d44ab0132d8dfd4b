"""The module functions: External's methods on Celery's current app, or on ``app=``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .extension import get_external
from .job import Job, Page, Receipt
from .locking import LockedJob
from .naming import JobLike

if TYPE_CHECKING:
    from celery import Celery
    from celery.canvas import Signature


def signal_succeeded(
    job: JobLike,
    result: Any = None,
    *,
    continue_with: Signature[Any] | None = None,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> Receipt:
    """Say that the outside work has succeeded; see :meth:`External.signal_succeeded`."""
    external = get_external(app)
    return external.signal_succeeded(
        job, result, continue_with=continue_with, attempt=attempt, by=by, reason=reason, using=using
    )


def signal_failed(
    job: JobLike,
    reason: str | BaseException,
    *,
    attempt: int | None = None,
    by: str | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> Receipt:
    """Say that the outside work has failed; see :meth:`External.signal_failed`."""
    return get_external(app).signal_failed(job, reason, attempt=attempt, by=by, using=using)


def signal_progress(
    job: JobLike,
    current: float | None = None,
    total: float | None = None,
    message: str | None = None,
    *,
    attempt: int | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> None:
    """Say how far the outside work is; see :meth:`External.signal_progress`."""
    get_external(app).signal_progress(job, current, total, message, attempt=attempt, using=using)


def lock_job(
    job: JobLike | None = None,
    *,
    root_id: str | None = None,
    task: str | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> AbstractContextManager[LockedJob | None]:
    """Look at a job, then decide, while nobody else can; see :meth:`External.lock_job`."""
    return get_external(app).lock_job(job, root_id=root_id, task=task, using=using)


def get_job(job: JobLike, *, using: Any = None, app: Celery | None = None) -> Job:
    """The job with its history; see :meth:`External.get_job`."""
    return get_external(app).get_job(job, using=using)


def find_jobs(
    *,
    labels: Sequence[str] | None = None,
    meta: Mapping[str, Any] | None = None,
    order: str = "-parked",
    limit: int = 50,
    after: str | None = None,
    using: Any = None,
    app: Celery | None = None,
    **filters: Any,
) -> Page:
    """One page of the jobs that fit; see :meth:`External.find_jobs`."""
    return get_external(app).find_jobs(
        labels=labels, meta=meta, order=order, limit=limit, after=after, using=using, **filters
    )


def cancel_job(
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> Receipt:
    """Call a job off; see :meth:`External.cancel_job`."""
    return get_external(app).cancel_job(job, attempt=attempt, by=by, reason=reason, using=using)


def rerun_job(
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> Job:
    """Run the trigger again; see :meth:`External.rerun_job`."""
    return get_external(app).rerun_job(job, attempt=attempt, by=by, reason=reason, using=using)


def extend_job(
    job: JobLike,
    *,
    timeout: float | timedelta | None = None,
    deadline: datetime | None = None,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
    app: Celery | None = None,
) -> Job:
    """Move a job's deadline; see :meth:`External.extend_job`."""
    return get_external(app).extend_job(
        job,
        timeout=timeout,
        deadline=deadline,
        attempt=attempt,
        by=by,
        reason=reason,
        using=using,
    )
