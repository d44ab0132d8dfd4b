"""How a job is completed from outside: one statement decides, then the message is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from kombu.exceptions import ContentDisallowed, DecodeError

from . import continuation, message, payload, sending, signals, states
from .continuation import Continued
from .errors import ResultInvalidError, UnserializableError
from .job import Failed, Receipt, Succeeded
from .logs import name_job
from .naming import JobLike, check_attempt, check_note, is_external, known_id, require_row
from .propagation import in_trace_of
from .refusal import completed, is_stale, refuse, refuse_stale
from .result_type import check_outcome, result_types
from .store import decisions, noted

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row
    from .store.place import Place

logger = logging.getLogger("celery_external")


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
    note, place = check_note("reason", reason), installation.place(using)

    def encode(job_id: str) -> tuple[Row, int | None]:
        if isinstance(outcome, Continued):
            return continuation.encode(installation.app, job_id, outcome, note), attempt
        checked, for_attempt = _check_result(
            installation, place, job_id, outcome, attempt=attempt, by=by, note=note
        )
        return payload.encode_outcome(installation.app, checked, note=note), for_attempt

    return _decide(installation, place, job, encode, attempt=attempt, by=by)


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
    place = installation.place(using)
    return _decide(installation, place, job, lambda _: (encoded, attempt), attempt=attempt, by=by)


def _decide(
    installation: Installation,
    place: Place,
    job: JobLike,
    encode: Callable[[str], tuple[Row, int | None]],
    *,
    attempt: int | None,
    by: str | None,
) -> Receipt:
    job_id = known_id(installation, job)
    by = check_note("by", by)
    check_attempt(attempt)
    while True:
        encoded, for_attempt = encode(job_id)
        with noted.deciding(place) as tx:
            row = decisions.decide(
                tx,
                namespace=installation.namespace,
                job_id=job_id,
                attempt=for_attempt,
                outcome=encoded,
                by=by,
                wake_in=installation.settings.resume_grace,
            )
        if row is not None and _continues_here(installation, place, row):
            return _continue(installation, place, row)
        if row is not None:
            return hand_on(installation, place, [row])[0]
        receipt = _second_look(installation, place, job_id, encoded, attempt=attempt, by=by)
        if receipt is not None:
            return receipt


def _continues_here(installation: Installation, place: Place, row: Row) -> bool:
    """Whether the next step can be a row of this very transaction; otherwise a worker starts it."""
    if row["kind"] != states.CONTINUED or not place.defers or _is_running(row):
        return False
    return is_external(continuation.first_task(installation.app, row))


def _continue(installation: Installation, place: Place, row: Row) -> Receipt:
    step = continuation.placed(installation.app, row)
    with in_trace_of(message.headers_of(row)):
        step.apply_async(using=place)
    with place.alone() as tx:
        decisions.settle_continued(tx, row)
    place.after_commit([row], lambda rows: _announce(installation, rows))
    return _receipt(row)


def _check_result(
    installation: Installation,
    place: Place,
    job_id: str,
    outcome: Succeeded | Failed,
    *,
    attempt: int | None,
    by: str | None,
    note: str | None,
) -> tuple[Succeeded | Failed, int | None]:
    """The outcome as it is to be kept, and the only attempt that it may count for.

    The next attempt may be another task. Of an app where no task says what its results are,
    nothing is read.
    """
    types = result_types(installation.app) if isinstance(outcome, Succeeded) else {}
    if not types:
        return outcome, attempt
    row = require_row(installation, place, job_id)
    if is_stale(row, attempt):
        said = _said(installation, outcome, note)
        refuse_stale(installation, place, row, said, attempt=attempt, by=by)
    try:
        return check_outcome(types, row, outcome), row["attempt"]
    except ResultInvalidError as error:
        is_over = row["kind"] is not None
        problem = completed(installation, row, states.SUCCEEDED) if is_over else error
        refuse(installation, place, row, problem, _said(installation, outcome, note), by)


def _said(installation: Installation, outcome: Succeeded | Failed, note: str | None) -> Row:
    """What was said, for a refusal; without what the serializer does not take as it is."""
    try:
        return payload.encode_outcome(installation.app, outcome, note=note)
    except UnserializableError:
        return {"kind": states.SUCCEEDED, "reason": note}


def hand_on(installation: Installation, place: Place, rows: list[Row]) -> list[Receipt]:
    """Send what was decided, once it is committed."""
    sent: set[str] = set()
    place.after_commit(rows, lambda committed: sent.update(_send(installation, committed)))
    return [_receipt(row, sent=row["id"] in sent) for row in rows]


def _receipt(row: Row, status: str = "applied", *, sent: bool = False) -> Receipt:
    is_early = row["parked_at"] is None
    return Receipt(row["id"], attempt=row["attempt"], status=status, early=is_early, sent=sent)


def _send(installation: Installation, rows: Sequence[Row]) -> set[str]:
    """Tell of outcomes. A running trigger's worker hands its job's outcome on itself."""
    owed = [row for row in rows if not _is_running(row)]
    sent = sending.send(installation.app, owed, installation.settings.resume_queue)
    _announce(installation, rows)
    return sent


def _announce(installation: Installation, rows: Sequence[Row]) -> None:
    is_logged = logger.isEnabledFor(logging.INFO)
    for row in rows:
        if is_logged:
            logger.info(
                "Job %s[%s] attempt %s: %s%s", row["task"], row["id"], row["attempt"], row["kind"],
                f" by {row['completed_by']}" if row["completed_by"] else "",
                extra=name_job(row),
            )  # fmt: skip
        signals.send_completed(installation.app, row)


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
    refuse_stale(installation, place, row, encoded, attempt=attempt, by=by)
    if row["kind"] is None:
        return None
    if _says_the_same(installation, row, encoded):
        return _receipt(row, "duplicate")
    problem = completed(installation, row, encoded["kind"])
    return refuse(installation, place, row, problem, encoded, by)


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
