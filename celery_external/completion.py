"""How a job is completed from outside: one statement decides, then the message is sent."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, NoReturn

from . import message, payload, signals, states
from .errors import (
    ExternalError,
    JobAlreadyCompletedError,
    ResultInvalidError,
    StaleAttemptError,
)
from .job import Failed, Receipt, Succeeded
from .naming import (
    JobLike,
    can_be_id,
    check_attempt,
    check_note,
    id_of,
    known_id,
    require_row,
)
from .result_type import ResultType, check_outcome, result_types
from .store import decisions, noted, read
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

#: What was attempted, for the message of a refusal.
_DONE = {
    states.SUCCEEDED: "completed",
    states.FAILED: "failed",
    states.CANCELLED: "cancelled",
    "extended": "extended",
    "progress": "reported on",
}


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
    note = check_note("reason", reason)

    def encode(job_id: str) -> tuple[Row, int | None]:
        checked, for_attempt = _check_result(
            installation, job_id, outcome, attempt=attempt, by=by, note=note
        )
        return payload.encode_outcome(installation.app, checked, note=note), for_attempt

    return _decide(installation, job, encode, attempt=attempt, by=by)


def cancel(
    installation: Installation,
    job: JobLike,
    *,
    attempt: int | None = None,
    by: str | None = None,
    reason: str | None = None,
) -> Receipt:
    """Call the job off: its row is REVOKED, Celery sees ExternalJobCancelled."""
    why = check_note("reason", reason)
    encoded = payload.outcome_columns(states.CANCELLED, reason=why)
    return _decide(installation, job, lambda _: (encoded, attempt), attempt=attempt, by=by)


def _decide(
    installation: Installation,
    job: JobLike,
    encode: Callable[[str], tuple[Row, int | None]],
    *,
    attempt: int | None,
    by: str | None,
) -> Receipt:
    """``encode`` gives the outcome's columns, and the attempt that they were made for."""
    job_id = known_id(installation, job)
    by = check_note("by", by)
    check_attempt(attempt)
    database = installation.database
    while True:
        encoded, for_attempt = encode(job_id)
        with noted.deciding(database) as tx:
            row = decisions.decide(
                tx,
                namespace=installation.namespace,
                job_id=job_id,
                attempt=for_attempt,
                outcome=encoded,
                by=by,
                wake_in=installation.settings.resume_grace,
            )
        if row is not None:
            return _hand_on(installation, [row])[0]
        receipt = _second_look(installation, job_id, encoded, attempt=attempt, by=by)
        if receipt is not None:
            return receipt


def _check_result(
    installation: Installation,
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
    row = require_row(installation, job_id)
    said = {"kind": states.SUCCEEDED, "reason": note}
    _refuse_stale(installation, row, said, attempt=attempt, by=by)
    try:
        return check_outcome(types, row, outcome), row["attempt"]
    except ResultInvalidError as error:
        is_over = row["kind"] is not None
        problem = _completed(installation, row, said) if is_over else error
        refuse(installation, row, problem, said, by)


def signal_many(
    installation: Installation,
    outcomes: Iterable[tuple[JobLike, Succeeded | Failed]],
    *,
    by: str | None = None,
) -> list[Receipt]:
    """Record many outcomes in one statement; a refused one is a Receipt with an ``error``."""
    by = check_note("by", by)
    given = [(id_of(job), outcome) for job, outcome in outcomes]
    prepared = _prepare_many(installation, given)
    first: dict[str, int] = {}
    for index, (job_id, _) in enumerate(given):
        first.setdefault(job_id, index)
    together = [one for index in first.values() if (one := prepared[index]) is not None]
    with noted.deciding(installation.database) as tx:
        rows = decisions.decide_many(
            tx,
            namespace=installation.namespace,
            outcomes=together,
            by=by,
            wake_in=installation.settings.resume_grace,
        )
    applied = {first[receipt.job_id]: receipt for receipt in _hand_on(installation, rows)}
    return [
        applied[index] if index in applied else _signal_one_of_many(installation, *one, by)
        for index, one in enumerate(given)
    ]


def _prepare_many(
    installation: Installation, given: Sequence[tuple[str, Succeeded | Failed]]
) -> list[tuple[str, int | None, Row] | None]:
    """Job, attempt and columns of each; None for one that must be looked at alone."""
    types = result_types(installation.app)
    rows: Mapping[str, Row] = {}
    if types:
        with installation.database.alone() as tx:
            ids = {job_id for job_id, _ in given if can_be_id(job_id)}
            rows = read.find_tasks(tx, installation.namespace, sorted(ids))
    return [_prepare(installation, types, rows, *one) for one in given]


def _prepare(
    installation: Installation,
    types: Mapping[str, ResultType],
    rows: Mapping[str, Row],
    job_id: str,
    outcome: Succeeded | Failed,
) -> tuple[str, int | None, Row] | None:
    attempt: int | None = None
    if types and isinstance(outcome, Succeeded):
        try:
            row = rows[job_id]
            outcome, attempt = check_outcome(types, row, outcome), row["attempt"]
        except (KeyError, ResultInvalidError):
            return None
    encoded = payload.encode_outcome(installation.app, outcome)
    return (job_id, attempt, encoded) if can_be_id(job_id) else None


def _signal_one_of_many(
    installation: Installation, job_id: str, outcome: Succeeded | Failed, by: str | None
) -> Receipt:
    try:
        # Alone it may count after all: between the two statements a new attempt may have begun.
        return signal(installation, job_id, outcome, by=by)
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
    row = require_row(installation, job_id)
    _refuse_stale(installation, row, encoded, attempt=attempt, by=by)
    if row["kind"] is None:
        return None
    if _says_the_same(installation, row, encoded):
        return Receipt(
            job_id, attempt=row["attempt"], status="duplicate", early=row["parked_at"] is None
        )
    return refuse(installation, row, _completed(installation, row, encoded), encoded, by)


def _refuse_stale(
    installation: Installation, row: Row, encoded: Row, *, attempt: int | None, by: str | None
) -> None:
    if attempt is not None and attempt != row["attempt"]:
        error = StaleAttemptError(row["id"], attempt, row["attempt"])
        refuse(installation, row, error, encoded, by)


def _completed(installation: Installation, row: Row, encoded: Row) -> JobAlreadyCompletedError:
    job = job_from(installation.app, row)
    return JobAlreadyCompletedError(job, _DONE[encoded["kind"]])


def _says_the_same(installation: Installation, row: Row, encoded: Row) -> bool:
    if row["kind"] != encoded["kind"]:
        return False
    if encoded["kind"] == states.CANCELLED:
        return True
    if encoded["kind"] == states.FAILED and row["reason"] != encoded["reason"]:
        return False
    app = installation.app
    said = payload.load(app, row["outcome"], row["outcome_type"])
    return bool(said == payload.load(app, encoded["outcome"], encoded["outcome_type"]))


def refuse(
    installation: Installation, row: Row, error: ExternalError, encoded: Row, by: str | None
) -> NoReturn:
    """A refused word is not lost: it stands in the history and in the log."""
    with installation.database.alone() as tx:
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
    installation: Installation, job_id: str, event: str, *, attempt: int | None, by: str | None
) -> NoReturn:
    """Say why a change that is no outcome did not count."""
    row = require_row(installation, job_id)
    attempted = {"kind": event}
    _refuse_stale(installation, row, attempted, attempt=attempt, by=by)
    refuse(installation, row, _completed(installation, row, attempted), attempted, by)
