"""A word that does not count: told to whoever said it, noted in the history and logged."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, NoReturn

from . import late, payload, signals, states
from .errors import (
    ExternalError,
    JobAlreadyCompletedError,
    JobNotFoundError,
    StaleAttemptError,
)
from .logs import name_job
from .naming import require_row
from .store import noted, read
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


def refuse(  # noqa: PLR0917
    installation: Installation,
    place: Place,
    row: Row,
    error: ExternalError,
    encoded: Row,
    by: str | None,
) -> NoReturn:
    """A refused word is not lost: it stands in the history and in the log."""
    app, kept = installation.app, None
    # What names an attempt that is over is noted of that one.
    attempt = error.attempt if isinstance(error, StaleAttemptError) else row["attempt"]
    with place.transaction() as tx:
        if not read.hold(tx, installation.namespace, row["id"]):
            # It was purged since it was read: of what is noted now nothing would ever go.
            raise JobNotFoundError(row["id"], installation.namespace, installation.database_name)
        noted.note(
            tx,
            {**row, "attempt": attempt},
            "refused",
            by=by,
            reason=encoded.get("reason"),
            details={"kind": encoded["kind"], "error": payload.as_text(error)},
        )
        if late.is_late(error, encoded):
            kept = late.keep(installation, tx, row, attempt, encoded, by)
    logger.warning("Refused: %s", error, extra=name_job(row))

    def tell(_committed: list[Row]) -> None:
        if kept is not None:
            late.send(installation, kept, row)
        signals.signal_refused.send(app, job=job_from(app, row), error=error)

    place.after_commit([row], tell)
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
    attempted = {"kind": event}
    refuse_stale(installation, place, row, attempted, attempt=attempt, by=by)
    refuse(installation, place, row, completed(installation, row, event), attempted, by)


def is_stale(row: Row, attempt: int | None) -> bool:
    """Whether what was said names another attempt than the one that is on."""
    return attempt is not None and attempt != row["attempt"]


def refuse_stale(
    installation: Installation,
    place: Place,
    row: Row,
    encoded: dict[str, Any],
    *,
    attempt: int | None,
    by: str | None,
) -> None:
    """Refuse what names an attempt that is over."""
    if attempt is not None and is_stale(row, attempt):
        error = StaleAttemptError(row["id"], attempt, row["attempt"])
        refuse(installation, place, row, error, encoded, by)


def completed(installation: Installation, row: Row, attempted: str) -> JobAlreadyCompletedError:
    """Says that an outcome came first, and what was attempted (a kind of outcome, or a change)."""
    return JobAlreadyCompletedError(job_from(installation.app, row), _DONE[attempted])
