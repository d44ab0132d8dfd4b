"""What may be done to a job: one use case a function; commit first, then send."""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, NoReturn, TypeAlias
from uuid import UUID

from celery.result import ResultBase
from kombu.utils import json

from . import message, signals, states
from .config import MAX_JOB_ID_LENGTH, check_deadline, check_text, check_timeout
from .errors import (
    ExternalError,
    JobAlreadyCompletedError,
    JobNotFoundError,
    OptionError,
    RerunRefusedError,
    StaleAttemptError,
)
from .job import Failed, Job, Receipt, Succeeded
from .store import read, write

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row, Transaction

logger = logging.getLogger("celery_external")

#: How people name a job: its id, or whatever carries it.
JobLike: TypeAlias = str | UUID | ResultBase | Job

_DONE = {
    states.SUCCEEDED: "completed",
    states.FAILED: "failed",
    states.CANCELLED: "cancelled",
    "extended": "extended",
    "progress": "reported on",
}


# --- Signals --------------------------------------------------------------------------------------


def signal(
    installation: Installation,
    job: JobLike,
    outcome: Succeeded | Failed,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
) -> Receipt:
    """Record the outside world's word on a job and have Celery go on."""
    encoded = message.encode_outcome(installation.app, outcome, note=_check_note("reason", reason))
    return _decide(installation, job, encoded, attempt=attempt, by=by)


def cancel(
    installation: Installation,
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
) -> Receipt:
    """Call the job off: its row is REVOKED, Celery sees ExternalJobCancelled."""
    why = _check_note("reason", reason)
    encoded = message.outcome_columns(states.CANCELLED, reason=why)
    return _decide(installation, job, encoded, attempt=attempt, by=by)


def _decide(
    installation: Installation,
    job: JobLike,
    encoded: Row,
    *,
    attempt: int | None,
    by: str | None,
) -> Receipt:
    job_id = _known_id(installation, job)
    by = _check_note("by", by)
    _check_attempt(attempt)
    database = installation.database
    while True:
        with write.deciding(database) as tx:
            row = write.decide(
                tx,
                namespace=installation.namespace,
                job_id=job_id,
                attempt=attempt,
                outcome=encoded,
                by=by,
                wake_in=installation.settings.resume_grace,
            )
        if row is not None:
            return _hand_on(installation, [row])[0]
        receipt = _second_look(installation, job_id, encoded, attempt=attempt, by=by)
        if receipt is not None:
            return receipt


def signal_many(
    installation: Installation,
    outcomes: Iterable[tuple[JobLike, Succeeded | Failed]],
    *,
    by: str | None = None,
) -> list[Receipt]:
    """Record many outcomes in one statement; a refused one is a Receipt with an ``error``."""
    by = _check_note("by", by)
    encoded = {
        _known_id(installation, job): message.encode_outcome(installation.app, outcome) for job, outcome in outcomes
    }
    given = [(job_id, None, columns) for job_id, columns in encoded.items()]
    with write.deciding(installation.database) as tx:
        rows = write.decide_many(
            tx,
            namespace=installation.namespace,
            outcomes=given,
            by=by,
            wake_in=installation.settings.resume_grace,
        )
    receipts = {receipt.job_id: receipt for receipt in _hand_on(installation, rows)}
    for job_id, columns in encoded.items():
        if job_id not in receipts:
            receipts[job_id] = _refuse_one_of_many(installation, job_id, columns, by)
    return [receipts[job_id] for job_id in encoded]


def _refuse_one_of_many(
    installation: Installation, job_id: str, encoded: Row, by: str | None
) -> Receipt:
    try:
        # Alone it may count after all: between the two statements a new attempt may have begun.
        return _decide(installation, job_id, encoded, attempt=None, by=by)
    except ExternalError as exc:
        return Receipt(job_id, attempt=0, status="refused", error=exc)


def _hand_on(installation: Installation, rows: Sequence[Row]) -> list[Receipt]:
    """Send what was decided. A running trigger's worker hands its job's outcome on itself."""
    owed = [row for row in rows if not _is_running(row)]
    sent = message.send(installation.app, owed, installation.settings.resume_queue)
    for row in rows:
        logger.info(
            "Job %s[%s] attempt %s: %s%s", row["task"], row["id"], row["attempt"], row["kind"],
            f" by {row['completed_by']}" if row["completed_by"] else "",
        )  # fmt: skip
        signals.job_completed.send(
            installation.app, job_id=row["id"], attempt=row["attempt"], kind=row["kind"]
        )
    return [
        Receipt(
            row["id"],
            attempt=row["attempt"],
            status="applied",
            early=row["parked_at"] is None,
            sent=row["id"] in sent,
        )
        for row in rows
    ]


def _is_running(row: Row) -> bool:
    return row["started_at"] is not None and row["parked_at"] is None


def _second_look(
    installation: Installation,
    job_id: str,
    encoded: Row,
    *,
    attempt: int | None,
    by: str | None,
) -> Receipt | None:
    """Why the guard did not hold. None: it does now, a new attempt has begun meanwhile."""
    row = _require(installation, job_id)
    if attempt is not None and attempt != row["attempt"]:
        _refuse(installation, row, StaleAttemptError(job_id, attempt, row["attempt"]), encoded, by)
    if row["kind"] is None:
        return None
    if _says_the_same(installation, row, encoded):
        return Receipt(
            job_id, attempt=row["attempt"], status="duplicate", early=row["parked_at"] is None
        )
    job = message.job_from(installation.app, row)
    attempted = _DONE[encoded["kind"]]
    return _refuse(installation, row, JobAlreadyCompletedError(job, attempted), encoded, by)


def _says_the_same(installation: Installation, row: Row, encoded: Row) -> bool:
    if row["kind"] != encoded["kind"]:
        return False
    if encoded["kind"] == states.CANCELLED:
        return True
    if encoded["kind"] == states.FAILED and row["reason"] != encoded["reason"]:
        return False
    app = installation.app
    said = message.load(app, row["outcome"], row["outcome_type"])
    return bool(said == message.load(app, encoded["outcome"], encoded["outcome_type"]))


def _refuse(
    installation: Installation, row: Row, error: ExternalError, encoded: Row, by: str | None
) -> NoReturn:
    """A refused word is not lost: it stands in the history and in the log."""
    with installation.database.alone() as tx:
        write.note(
            tx,
            row,
            "refused",
            by=by,
            reason=encoded.get("reason"),
            details={"kind": encoded["kind"], "error": message.as_text(error)},
        )
    logger.warning("Refused: %s", error)
    signals.signal_refused.send(
        installation.app, job=message.job_from(installation.app, row), error=error
    )
    raise error


# --- Progress, extension, rerun -------------------------------------------------------------------


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
    job_id = _known_id(installation, job)
    _check_attempt(attempt)
    for name, value in (("current", current), ("total", total)):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if value is not None and not (is_number and math.isfinite(value)):
            raise OptionError(name, f"must be a finite number, not {value!r}")
    progress = {
        "current": current,
        "total": total,
        "message": _check_note("message", text),
        "at": datetime.now(UTC).isoformat(),
    }
    with installation.database.alone() as tx:
        row = write.record_progress(
            tx,
            namespace=installation.namespace,
            job_id=job_id,
            attempt=attempt,
            progress=progress,
        )
    if row is None:
        _explain(installation, job_id, "progress", attempt=attempt, by=None)


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
    job_id = _known_id(installation, job)
    _check_attempt(attempt)
    with write.deciding(installation.database) as tx:
        row = write.extend(
            tx,
            namespace=installation.namespace,
            job_id=job_id,
            attempt=attempt,
            timeout=check_timeout(timeout),
            deadline=check_deadline(deadline),
            by=_check_note("by", by),
            reason=_check_note("reason", reason),
        )
    if row is None:
        _explain(installation, job_id, "extended", attempt=attempt, by=by)
    return message.job_from(installation.app, row)


def _explain(
    installation: Installation, job_id: str, event: str, *, attempt: int | None, by: str | None
) -> NoReturn:
    row = _require(installation, job_id)
    error: ExternalError
    if attempt is not None and attempt != row["attempt"]:
        error = StaleAttemptError(job_id, attempt, row["attempt"])
    else:
        error = JobAlreadyCompletedError(message.job_from(installation.app, row), _DONE[event])
    _refuse(installation, row, error, {"kind": event}, by)


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
    by, why = _check_note("by", by), _check_note("reason", reason)
    row = _require(installation, _known_id(installation, job))
    seen = message.job_from(app, row)
    if row["state"] not in {states.PARKED, states.FAILURE, states.REVOKED}:
        raise RerunRefusedError(seen, f"it is {row['state']}, not PARKED, FAILURE or REVOKED")
    if row["state"] != states.PARKED and message.load_body(app, row)[2].get("chord"):
        raise RerunRefusedError(seen, "it is a member of a chord, and the chord has failed")
    with write.deciding(installation.database) as tx:
        fresh = write.rerun(
            tx,
            row,
            deadline=_deadline_ahead(row),
            wake_in=installation.settings.pending_grace,
            by=by,
            reason=why,
        )
    if fresh is None:
        now = message.job_from(app, _require(installation, seen.id))
        raise RerunRefusedError(now, f"it has moved on, to attempt {now.attempt}, {now.state}")
    if not message.send(app, [fresh], None):
        with installation.database.alone() as tx:
            _send_soon(installation, tx, fresh)
    return message.job_from(app, fresh)


def _deadline_ahead(row: Row) -> datetime | None:
    """The deadline that the caller set, unless it has passed: a rerun would time out at once."""
    given = json.loads(row["envelope"])["headers"].get(message.OPTIONS_HEADER) or {}
    deadline = check_deadline(given.get("deadline"))
    return deadline if deadline is not None and deadline > datetime.now(UTC) else None


# --- Starting -------------------------------------------------------------------------------------


def start(installation: Installation, job_id: str, values: Mapping[str, Any]) -> bool:
    """Make the row of a new job; False when the id is taken already."""
    with installation.database.alone() as tx:
        row = write.insert_job(tx, namespace=installation.namespace, job_id=job_id, **values)
    return row is not None


def take_back(installation: Installation, job_id: str) -> None:
    """Remove the row of a job whose message the broker refused."""
    with installation.database.alone() as tx:
        write.delete_unsent(tx, installation.namespace, job_id)


def leave_to_sweep(installation: Installation, row: Row) -> None:
    """Have the sweep send a message soon that could not be sent now."""
    with installation.database.alone() as tx:
        _send_soon(installation, tx, row)


def _send_soon(installation: Installation, tx: Transaction, row: Row) -> None:
    write.send_soon(
        tx,
        installation.namespace,
        row["id"],
        row["attempt"],
        installation.settings.resume_grace,
    )


# --- Reading --------------------------------------------------------------------------------------


def get(installation: Installation, job: JobLike) -> Job:
    """The job with its history.

    Raises:
        JobNotFoundError: There is none.
    """
    job_id = _known_id(installation, job)
    row = _require(installation, job_id)
    with installation.database.alone() as tx:
        history = read.get_history(tx, installation.namespace, job_id)
    return message.job_from(installation.app, row, history)


def _require(installation: Installation, job_id: str) -> Row:
    with installation.database.alone() as tx:
        row = read.get(tx, installation.namespace, job_id)
    if row is None:
        raise JobNotFoundError(job_id, installation.namespace, installation.database_name)
    return row


def _known_id(installation: Installation, job: JobLike) -> str:
    """The id that was meant, if it can be one: a database need not be asked about the others."""
    job_id = id_of(job)
    try:
        check_text("job", job_id)
    except OptionError:
        is_possible = False
    else:
        is_possible = 0 < len(job_id) <= MAX_JOB_ID_LENGTH
    if not is_possible:
        raise JobNotFoundError(job_id, installation.namespace, installation.database_name)
    return job_id


def id_of(job: JobLike) -> str:
    """The id behind whatever a caller names a job by."""
    if isinstance(job, (Job, ResultBase)):
        job = job.id
    if isinstance(job, UUID):
        job = str(job)
    if not isinstance(job, str):
        raise OptionError("job", f"must be a task id, an AsyncResult or a Job, not {job!r}")
    return job


def _check_note(name: str, value: str | None) -> str | None:
    return None if value is None else check_text(name, value)


def _check_attempt(attempt: int | None) -> None:
    if attempt is None:
        return
    if not isinstance(attempt, int) or isinstance(attempt, bool) or not 0 < attempt < 1 << 31:
        raise OptionError("attempt", f"must be a number from 1, not {attempt!r}")
