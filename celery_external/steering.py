"""What else may be done to a job from outside: report, extend, run again, look."""

from __future__ import annotations

import logging
import math
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from kombu.exceptions import ContentDisallowed, DecodeError

from . import message, sending, states
from .checks import check_deadline, check_timeout
from .errors import DatabaseUnavailableError, OptionError, RerunRefusedError
from .job import Job
from .logs import name_job
from .naming import JobLike, check_attempt, check_note, known_id, require_row
from .refusal import refuse_change, refuse_stale
from .store import attempts, noted, read, times
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row


logger = logging.getLogger("celery_external")


def report_progress(
    installation: Installation,
    job: JobLike,
    current: float | None = None,
    total: float | None = None,
    text: str | None = None,
    *,
    attempt: int | None = None,
    using: Any = None,
) -> None:
    """Keep how far the work is; of a parked job it is also the heartbeat."""
    job_id = known_id(installation, job)
    check_attempt(attempt)
    progress = {
        **check_progress(current, total, text),
        "at": datetime.now(UTC).isoformat(),
    }
    place = installation.place(using)
    with place.alone() as tx:
        row = times.record_progress(
            tx,
            namespace=installation.namespace,
            job_id=job_id,
            attempt=attempt,
            progress=progress,
        )
    if row is None:
        refuse_change(installation, place, job_id, "progress", attempt=attempt, by=None)


def check_progress(
    current: float | None, total: float | None, text: str | None
) -> dict[str, float | str | None]:
    """How far the work is, as JSON."""
    for name, value in (("current", current), ("total", total)):
        if value is not None and not _is_finite(value):
            raise OptionError(name, f"must be a finite number, not {value!r}")
    return {"current": current, "total": total, "message": check_note("message", text)}


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
    using: Any = None,
) -> Job:
    """Move the deadline: ``timeout`` seconds from now, or to ``deadline``."""
    if (timeout is None) == (deadline is None):
        raise OptionError("extend_job", "takes either timeout= or deadline=")
    job_id = known_id(installation, job)
    check_attempt(attempt)
    place = installation.place(using)
    with noted.deciding(place) as tx:
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
        refuse_change(installation, place, job_id, "extended", attempt=attempt, by=by)
    return job_from(installation.app, row)


def rerun(
    installation: Installation,
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> Job:
    """Run the trigger again as a new attempt; ``attempt`` is the one that is to be over.

    Raises:
        RerunRefusedError: The job is running, succeeded, its chord has failed, or its message
            cannot be read here.
        StaleAttemptError: Another attempt than the one that was named is on.
    """
    check_attempt(attempt)
    app, place = installation.app, installation.place(using)
    by, why = check_note("by", by), check_note("reason", reason)
    row = require_row(installation, place, known_id(installation, job))
    refuse_stale(installation, place, row, {"kind": "rerun"}, attempt=attempt, by=by)
    seen = job_from(app, row)
    if row["state"] not in states.RERUN_STATES:
        raise RerunRefusedError(seen, f"it is {row['state']}, not PARKED, FAILURE or REVOKED")
    if row["state"] != states.PARKED and _is_in_chord(installation, row):
        raise RerunRefusedError(seen, "it is a member of a chord, and the chord has failed")
    with place.transaction() as tx:
        fresh = attempts.rerun(
            tx,
            row,
            deadline=_call_deadline(row),
            # Until it is sent; then it waits for longer.
            wake_in=installation.settings.resume_grace,
            by=by,
            reason=why,
        )
    if fresh is None:
        now = job_from(app, require_row(installation, place, seen.id))
        raise RerunRefusedError(now, f"it has moved on, to attempt {now.attempt}, {now.state}")
    place.after_commit([fresh], lambda rows: _send_again(installation, rows))
    return job_from(app, fresh)


def _is_in_chord(installation: Installation, row: Row) -> bool:
    try:
        return bool(message.load_body(installation.app, row)[2].get("chord"))
    except (ContentDisallowed, DecodeError) as exc:
        seen = job_from(installation.app, row)
        raise RerunRefusedError(seen, f"its message cannot be read here: {exc}") from exc


def _send_again(installation: Installation, rows: list[Row]) -> None:
    sent = sending.send(installation.app, rows, None)
    for row in rows:
        if row["id"] in sent:
            wake_in(installation, row, installation.settings.pending_grace)


def _call_deadline(row: Row) -> datetime | None:
    given = message.headers_of(row).get(message.OPTIONS_HEADER) or {}
    return check_deadline(given.get("deadline"))


def get(installation: Installation, job: JobLike, *, using: Any = None) -> Job:
    """The job with its history.

    Raises:
        JobNotFoundError: There is none.
    """
    job_id, place = known_id(installation, job), installation.place(using)
    row = require_row(installation, place, job_id)
    with place.alone() as tx:
        history = read.get_history(tx, installation.namespace, job_id)
    return job_from(installation.app, row, history)


def wake_in(installation: Installation, row: Row, seconds: float) -> None:
    """Have the sweep look at a job after so many seconds, unless a worker has taken it."""
    try:
        with installation.database.alone() as tx:
            attempts.set_wake(tx, row, seconds)
    except DatabaseUnavailableError as exc:
        logger.warning(
            "Job %s: the sweep looks at it when it was to before: %s",
            row["id"],
            exc,
            extra=name_job(row),
        )
