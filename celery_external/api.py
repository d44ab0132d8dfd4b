"""The module functions: External's methods on Celery's current app, or on ``app=``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .extension import get_external
from .job import Job, Page, Receipt
from .naming import JobLike

if TYPE_CHECKING:
    from celery import Celery


def signal_succeeded(
    job: JobLike,
    result: Any = None,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    app: Celery | None = None,
) -> Receipt:
    """Say that the outside work has succeeded; see :meth:`External.signal_succeeded`."""
    external = get_external(app)
    return external.signal_succeeded(job, result, attempt=attempt, by=by, reason=reason)


def signal_failed(
    job: JobLike,
    reason: str | BaseException,
    *,
    attempt: int | None = None,
    by: str | None = None,
    app: Celery | None = None,
) -> Receipt:
    """Say that the outside work has failed; see :meth:`External.signal_failed`."""
    return get_external(app).signal_failed(job, reason, attempt=attempt, by=by)


def signal_progress(
    job: JobLike,
    current: float | None = None,
    total: float | None = None,
    message: str | None = None,
    *,
    attempt: int | None = None,
    app: Celery | None = None,
) -> None:
    """Say how far the outside work is; see :meth:`External.signal_progress`."""
    get_external(app).signal_progress(job, current, total, message, attempt=attempt)


def get_job(job: JobLike, *, app: Celery | None = None) -> Job:
    """The job with its history; see :meth:`External.get_job`."""
    return get_external(app).get_job(job)


def find_jobs(
    *,
    labels: Sequence[str] | None = None,
    meta: Mapping[str, Any] | None = None,
    order: str = "-parked",
    limit: int = 50,
    after: str | None = None,
    app: Celery | None = None,
    **filters: Any,
) -> Page:
    """One page of the jobs that fit; see :meth:`External.find_jobs`."""
    return get_external(app).find_jobs(
        labels=labels, meta=meta, order=order, limit=limit, after=after, **filters
    )


def cancel_job(
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    app: Celery | None = None,
) -> Receipt:
    """Call a job off; see :meth:`External.cancel_job`."""
    return get_external(app).cancel_job(job, attempt=attempt, by=by, reason=reason)


def rerun_job(
    job: JobLike, *, by: str | None = None, reason: str | None = None, app: Celery | None = None
) -> Job:
    """Run the trigger again; see :meth:`External.rerun_job`."""
    return get_external(app).rerun_job(job, by=by, reason=reason)


def extend_job(
    job: JobLike,
    *,
    timeout: float | timedelta | None = None,
    deadline: datetime | None = None,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    app: Celery | None = None,
) -> Job:
    """Move a job's deadline; see :meth:`External.extend_job`."""
    return get_external(app).extend_job(
        job, timeout=timeout, deadline=deadline, attempt=attempt, by=by, reason=reason
    )
