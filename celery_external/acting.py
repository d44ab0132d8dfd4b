"""What people do to a job from a page: approve, decline, cancel, run again, extend."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from .job import Job, Receipt

if TYPE_CHECKING:
    from .extension import External


def act(
    external: External,
    name: str,
    job_id: str,
    attempt: int,
    *,
    by: str,
    reason: str | None,
    result: Any = None,
    timeout: float | timedelta | None = None,
    deadline: datetime | None = None,
    using: Any = None,
) -> Receipt | Job:
    """Do to one attempt of a job what a button says.

    Arguments:
        external: Whose job it is.
        name: ``approve``, ``decline``, ``cancel``, ``rerun`` or ``extend``.
        job_id: Which job.
        attempt: As it was shown to whoever decides.
        by: Who that is, for the history.
        reason: Why, for the history; what a declined job fails with.
        result: What an approved job's task returns.
        timeout: For how long an extended job waits from now, in seconds.
        deadline: Or until when.
        using: A transaction to join.

    Raises:
        ExternalError: It did not count, as of the method that does it.
    """
    said: dict[str, Any] = {"attempt": attempt, "by": by, "using": using}
    match name:
        case "approve":
            return external.signal_succeeded(job_id, result, reason=reason, **said)
        case "decline":
            return external.signal_failed(job_id, reason or "", **said)
        case "cancel":
            return external.cancel_job(job_id, reason=reason, **said)
        case "rerun":
            return external.rerun_job(job_id, reason=reason, **said)
        case "extend":
            return external.extend_job(
                job_id, timeout=timeout, deadline=deadline, reason=reason, **said
            )
    raise ValueError(name)
