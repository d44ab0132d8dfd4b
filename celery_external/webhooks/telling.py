"""Telling a job what a token's holder said, and the holder what became of it."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery_external import references, states
from celery_external.errors import (
    JobAlreadyCompletedError,
    JobNotFoundError,
    OptionError,
    ResultInvalidError,
    StaleAttemptError,
    UnserializableError,
)
from celery_external.job import Job
from celery_external.logs import name_job
from celery_external.naming import require_row
from celery_external.tokens import Claims
from celery_external.view import job_from

from .exchange import Answer, RefusedError
from .outcomes import Outcome, invalid

if TYPE_CHECKING:
    from celery import Celery

    from celery_external.installation import Installation
    from celery_external.store.database import Row

logger = logging.getLogger("celery_external")

#: Whoever comes after these is not late by a moment: the job has been given up.
_GONE = {states.TIMED_OUT, states.CANCELLED}


def row_of(installation: Installation, claims: Claims) -> Row:
    """The job that a token is for, as it stands, whatever its attempt.

    Raises:
        RefusedError: 404: there is none any more.
    """
    try:
        return require_row(installation, installation.database, claims.job_id)
    except JobNotFoundError as exc:
        raise RefusedError(404, "not_found") from exc


def end_of(app: Celery, claims: Claims, row: Row) -> RefusedError | None:
    """Why nothing can be said for the token's attempt any more, if it is over."""
    if claims.attempt != row["attempt"]:
        return RefusedError(409, "stale")
    return None if row["kind"] is None else conflict(job_from(app, row))


def tell(installation: Installation, claims: Claims, outcome: Outcome, by: str | None) -> Answer:
    """Signal what was said, for the token's attempt and no other.

    Raises:
        RefusedError: It did not count; the answer says why.
    """
    try:
        receipt = references.say(installation, claims.job_id, claims.attempt, outcome, by=by)
    except JobNotFoundError as exc:
        raise RefusedError(404, "not_found") from exc
    except StaleAttemptError as exc:
        raise RefusedError(409, "stale") from exc
    except JobAlreadyCompletedError as exc:
        raise conflict(exc.job) from exc
    except (OptionError, ResultInvalidError, UnserializableError) as exc:
        logger.warning(
            "Job %s: %s", claims.job_id, type(exc).__name__, extra=name_job(claims.job_id)
        )
        raise invalid(exc.problem) from exc
    if receipt.early and receipt.status == "applied":
        return Answer(202, "applied", {"early": True})
    return Answer(200, receipt.status)


def conflict(job: Job) -> RefusedError:
    """Another outcome was first: which, and when."""
    outcome: dict[str, Any] = {
        "kind": job.kind,
        "completed_at": job.completed_at and job.completed_at.isoformat(),
    }
    if job.kind in _GONE:
        return RefusedError(410, "gone", outcome=outcome)
    return RefusedError(409, "conflict", outcome=outcome)
