"""How a job is completed from outside: one statement decides, then the message is sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, NoReturn

from kombu.exceptions import ContentDisallowed, DecodeError

from . import continuation, message, payload, signals, states
from .continuation import Continued
from .errors import ExternalError, JobAlreadyCompletedError, StaleAttemptError
from .job import Failed, Receipt, Succeeded
from .naming import (
    JobLike,
    can_be_id,
    check_attempt,
    check_note,
    id_of,
    is_external,
    known_id,
    require_row,
)
from .store import decisions, noted
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row
    from .store.place import Place

logger = logging.getLogger("celery_external")

#: What was attempted, for the message of a refusal.
_DONE = {
    states.SUCCEEDED: "completed",
    states.FAILED: "failed",
    states.CANCELLED: "cancelled",
    states.CONTINUED: "continued",
    "extended": "extended",
    "progress": "reported on",
}


def signal(
    installation: Installation,
    job: JobLike,
    outcome: Succeeded | Failed | Continued,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> Receipt:
    """Record the outside world's word on a job and have Celery go on."""
    note = check_note("reason", reason)
    if isinstance(outcome, Continued):
        encoded = continuation.encode(installation.app, id_of(job), outcome, note)
    else:
        encoded = payload.encode_outcome(installation.app, outcome, note=note)
    return _decide(installation, installation.place(using), job, encoded, attempt=attempt, by=by)


def cancel(
    installation: Installation,
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> Receipt:
    """Call the job off: its row is REVOKED, Celery sees ExternalJobCancelled."""
    why = check_note("reason", reason)
    encoded = payload.outcome_columns(states.CANCELLED, reason=why)
    return _decide(installation, installation.place(using), job, encoded, attempt=attempt, by=by)


def _decide(
    installation: Installation,
    place: Place,
    job: JobLike,
    encoded: Row,
    *,
    attempt: int | None,
    by: str | None,
) -> Receipt:
    job_id = known_id(installation, job)
    by = check_note("by", by)
    check_attempt(attempt)
    while True:
        with noted.deciding(place) as tx:
            row = decisions.decide(
                tx,
                namespace=installation.namespace,
                job_id=job_id,
                attempt=attempt,
                outcome=encoded,
                by=by,
                wake_in=installation.settings.resume_grace,
            )
        if row is not None and _continues_here(installation, place, row):
            return _continue(installation, place, row)
        if row is not None:
            return _hand_on(installation, place, [row])[0]
        receipt = _second_look(installation, place, job_id, encoded, attempt=attempt, by=by)
        if receipt is not None:
            return receipt


def _continues_here(installation: Installation, place: Place, row: Row) -> bool:
    """Whether the next step can be a row of this very transaction; otherwise a worker starts it."""
    if row["kind"] != states.CONTINUED or not place.defers or _is_running(row):
        return False
    return is_external(continuation.first_task(installation.app, row))


def _continue(installation: Installation, place: Place, row: Row) -> Receipt:
    continuation.placed(installation.app, row).apply_async(using=place)
    with place.alone() as tx:
        decisions.settle_continued(tx, row)
    place.after_commit([row], lambda rows: _announce(installation, rows))
    return Receipt(
        row["id"], attempt=row["attempt"], status="applied", early=row["parked_at"] is None
    )


def signal_many(
    installation: Installation,
    outcomes: Iterable[tuple[JobLike, Succeeded | Failed]],
    *,
    by: str | None = None,
    using: Any = None,
) -> list[Receipt]:
    """Record many outcomes in one statement; a refused one is a Receipt with an ``error``."""
    by, place = check_note("by", by), installation.place(using)
    given = [(id_of(job), payload.encode_outcome(installation.app, out)) for job, out in outcomes]
    first: dict[str, Row] = {}
    for job_id, encoded in given:
        if can_be_id(job_id):
            first.setdefault(job_id, encoded)
    with noted.deciding(place) as tx:
        rows = decisions.decide_many(
            tx,
            namespace=installation.namespace,
            outcomes=[(job_id, None, encoded) for job_id, encoded in first.items()],
            by=by,
            wake_in=installation.settings.resume_grace,
        )
    applied = {receipt.job_id: receipt for receipt in _hand_on(installation, place, rows)}
    return [
        applied.pop(job_id)
        if job_id in applied
        else _refuse_one_of_many(installation, place, job_id, encoded, by)
        for job_id, encoded in given
    ]


def _refuse_one_of_many(
    installation: Installation, place: Place, job_id: str, encoded: Row, by: str | None
) -> Receipt:
    try:
        # Alone it may count after all: between the two statements a new attempt may have begun.
        return _decide(installation, place, job_id, encoded, attempt=None, by=by)
    except ExternalError as exc:
        return Receipt(job_id, attempt=0, status="refused", error=exc)


def _hand_on(installation: Installation, place: Place, rows: list[Row]) -> list[Receipt]:
    """Send what was decided, once it is committed."""
    sent: set[str] = set()
    place.after_commit(rows, lambda committed: sent.update(_send(installation, committed)))
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


def _send(installation: Installation, rows: Sequence[Row]) -> set[str]:
    """Tell of outcomes. A running trigger's worker hands its job's outcome on itself."""
    owed = [row for row in rows if not _is_running(row)]
    sent = message.send(installation.app, owed, installation.settings.resume_queue)
    _announce(installation, rows)
    return sent


def _announce(installation: Installation, rows: Sequence[Row]) -> None:
    for row in rows:
        logger.info(
            "Job %s[%s] attempt %s: %s%s", row["task"], row["id"], row["attempt"], row["kind"],
            f" by {row['completed_by']}" if row["completed_by"] else "",
        )  # fmt: skip
        signals.job_completed.send(
            installation.app, job_id=row["id"], attempt=row["attempt"], kind=row["kind"]
        )


def _is_running(row: Row) -> bool:
    return row["started_at"] is not None and row["parked_at"] is None


def _second_look(
    installation: Installation,
    place: Place,
    job_id: str,
    encoded: Row,
    *,
    attempt: int | None,
    by: str | None,
) -> Receipt | None:
    """Why the guard did not hold. None: it does now, a new attempt has begun meanwhile."""
    row = require_row(installation, place, job_id)
    if attempt is not None and attempt != row["attempt"]:
        refuse(
            installation,
            place,
            row,
            StaleAttemptError(job_id, attempt, row["attempt"]),
            encoded,
            by,
        )
    if row["kind"] is None:
        return None
    if _says_the_same(installation, row, encoded):
        return Receipt(
            job_id, attempt=row["attempt"], status="duplicate", early=row["parked_at"] is None
        )
    job = job_from(installation.app, row)
    attempted = _DONE[encoded["kind"]]
    return refuse(installation, place, row, JobAlreadyCompletedError(job, attempted), encoded, by)


def _says_the_same(installation: Installation, row: Row, encoded: Row) -> bool:
    if row["kind"] != encoded["kind"]:
        return False
    if encoded["kind"] == states.FAILED and row["reason"] != encoded["reason"]:
        return False
    app, columns = installation.app, ("outcome", "outcome_type")
    kept, said = ([columns_of[name] for name in columns] for columns_of in (row, encoded))
    if encoded["kind"] == states.CANCELLED or kept == said:
        return True
    try:
        if encoded["kind"] == states.CONTINUED:
            return continuation.is_same(app, row, encoded)
        return bool(payload.load(app, *kept) == payload.load(app, *said))
    except (ContentDisallowed, DecodeError):
        return False  # what this app cannot read was said by another


def refuse(  # noqa: PLR0917
    installation: Installation,
    place: Place,
    row: Row,
    error: ExternalError,
    encoded: Row,
    by: str | None,
) -> NoReturn:
    """A refused word is not lost: it stands in the history and in the log."""
    with place.alone() as tx:
        noted.note(
            tx,
            row,
            "refused",
            by=by,
            reason=encoded.get("reason"),
            details={"kind": encoded["kind"], "error": payload.as_text(error)},
        )
    logger.warning("Refused: %s", error)
    signals.signal_refused.send(installation.app, job=job_from(installation.app, row), error=error)
    raise error


def refuse_change(
    installation: Installation,
    place: Place,
    job_id: str,
    event: str,
    *,
    attempt: int | None,
    by: str | None,
) -> NoReturn:
    """Say why a change that is no outcome did not count."""
    row = require_row(installation, place, job_id)
    error: ExternalError
    if attempt is not None and attempt != row["attempt"]:
        error = StaleAttemptError(job_id, attempt, row["attempt"])
    else:
        error = JobAlreadyCompletedError(job_from(installation.app, row), _DONE[event])
    refuse(installation, place, row, error, {"kind": event}, by)
