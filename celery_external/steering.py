"""What else may be done to a job from outside: report, extend, run again, look."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from kombu.utils import json

from . import message, states
from .completion import refuse_change
from .config import check_deadline, check_timeout
from .errors import OptionError, RerunRefusedError
from .job import Job
from .naming import JobLike, check_attempt, check_note, known_id, require_row
from .store import attempts, noted, read, times
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row


def report_progress(
    installation: Installation,
    job: JobLike,
    current: float | None = None,
    total: float | None = None,
    text: str | None = None,
    *,
    attempt: int | None = None,
) -> None:
    """Keep how far the work is; of a parked job it is also the heartbeat."""
    job_id = known_id(installation, job)
    check_attempt(attempt)
    for name, value in (("current", current), ("total", total)):
        if value is not None and not _is_finite(value):
            raise OptionError(name, f"must be a finite number, not {value!r}")
    progress = {
        "current": current,
        "total": total,
        "message": check_note("message", text),
        "at": datetime.now(UTC).isoformat(),
    }
    with installation.database.alone() as tx:
        row = times.record_progress(
            tx,
            namespace=installation.namespace,
            job_id=job_id,
            attempt=attempt,
            progress=progress,
        )
    if row is None:
        refuse_change(installation, job_id, "progress", attempt=attempt, by=None)


def _is_finite(value: object) -> bool:
    """Whether it is a number that every reader of JSON takes."""
    if not isinstance(value, (int, float)) or isinstance(value, bool):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer that is larger than any float
        return False


def extend(
    installation: Installation,
    job: JobLike,
    *,
    timeout: float | timedelta | None = None,
    deadline: datetime | None = None,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
) -> Job:
    """Move the deadline: ``timeout`` seconds from now, or to ``deadline``."""
    if (timeout is None) == (deadline is None):
        raise OptionError("extend_job", "takes either timeout= or deadline=")
    job_id = known_id(installation, job)
    check_attempt(attempt)
    with noted.deciding(installation.database) as tx:
        row = times.extend(
            tx,
            namespace=installation.namespace,
            job_id=job_id,
            attempt=attempt,
            timeout=check_timeout(timeout),
            deadline=check_deadline(deadline),
            by=check_note("by", by),
            reason=check_note("reason", reason),
        )
    if row is None:
        refuse_change(installation, job_id, "extended", attempt=attempt, by=by)
    return job_from(installation.app, row)


def rerun(
    installation: Installation,
    job: JobLike,
    *,
    by: str | None = None,
    reason: str | None = None,
) -> Job:
    """Run the trigger again as a new attempt.

    Raises:
        RerunRefusedError: The job is running, succeeded, or its chord has failed.
    """
    app = installation.app
    by, why = check_note("by", by), check_note("reason", reason)
    row = require_row(installation, known_id(installation, job))
    seen = job_from(app, row)
    if row["state"] not in {states.PARKED, states.FAILURE, states.REVOKED}:
        raise RerunRefusedError(seen, f"it is {row['state']}, not PARKED, FAILURE or REVOKED")
    if row["state"] != states.PARKED and message.load_body(app, row)[2].get("chord"):
        raise RerunRefusedError(seen, "it is a member of a chord, and the chord has failed")
    with noted.deciding(installation.database) as tx:
        fresh = attempts.rerun(
            tx,
            row,
            deadline=_call_deadline(row),
            wake_in=installation.settings.pending_grace,
            by=by,
            reason=why,
        )
    if fresh is None:
        now = job_from(app, require_row(installation, seen.id))
        raise RerunRefusedError(now, f"it has moved on, to attempt {now.attempt}, {now.state}")
    if not message.send(app, [fresh], None):
        send_soon(installation, fresh)
    return job_from(app, fresh)


def _call_deadline(row: Row) -> datetime | None:
    given = json.loads(row["envelope"])["headers"].get(message.OPTIONS_HEADER) or {}
    return check_deadline(given.get("deadline"))


def get(installation: Installation, job: JobLike) -> Job:
    """The job with its history.

    Raises:
        JobNotFoundError: There is none.
    """
    job_id = known_id(installation, job)
    row = require_row(installation, job_id)
    with installation.database.alone() as tx:
        history = read.get_history(tx, installation.namespace, job_id)
    return job_from(installation.app, row, history)


def send_soon(installation: Installation, row: Row) -> None:
    """Have the sweep send a message soon that could not be sent now."""
    with installation.database.alone() as tx:
        attempts.send_soon(
            tx,
            installation.namespace,
            row["id"],
            row["attempt"],
            installation.settings.resume_grace,
        )
