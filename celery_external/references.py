"""Signals that name a job by the outside system's own id, which may come before the job has it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from . import completion, late, payload, steering
from .checks import check_reference, check_text
from .delivery import wait_before_repeat
from .errors import ExternalError, OptionError
from .job import Failed, Progress, Receipt, Succeeded
from .naming import check_note
from .store import kept, read
from .store.place import within

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row
    from .store.place import Place

logger = logging.getLogger("celery_external")

#: Seconds for which a signal waits for a job with its reference: a day.
LIFETIME = 86400.0
#: Signals in one transaction of the sweep.
BATCH = 100


def signal(
    installation: Installation,
    task: str,
    reference: str,
    outcome: Succeeded | Failed | Progress,
    *,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> Receipt:
    """Say what has become of the job of this task that carries the reference.

    If there is none yet, the signal is kept for a day (``Receipt.status`` is ``kept``) and
    counts as soon as a trigger sets the reference: a webhook may be faster than that.

    Raises:
        JobAlreadyCompletedError: Another outcome came first; it carries the Job.
        StaleAttemptError: The attempt that had the reference is over.
        ResultInvalidError: The result is not of the task's ``result_type``; the job waits on.
        UnserializableError: The serializer refuses the result.
        OptionError: Task, reference or outcome cannot be used.
    """
    task, reference = check_text("task", task), check_reference(reference)
    encoded = {**_encode(installation, outcome, reason), "by": check_note("by", by)}
    place = installation.place(using)
    named = _find(installation, place, task, reference)
    if named is not None:
        return say(installation, *named, outcome, by=by, reason=reason, using=place)
    waiting = {**encoded, "task": task, "reference": reference}
    with place.alone() as tx:
        grace = installation.settings.resume_grace
        kept.keep(tx, installation.namespace, waiting, grace)
    logger.info("No job of %s has the reference %r yet: its signal is kept", task, reference)
    # Whoever is second, the signal or the trigger, sees what the other has committed.
    place.after_commit([], lambda _: claim(installation, task, reference))
    return Receipt("", attempt=0, status="kept")


def _find(
    installation: Installation, place: Place, task: str, reference: str
) -> tuple[str, int] | None:
    """The job and the attempt that carry a reference, or did while that attempt was on."""
    with place.alone() as tx:
        row = kept.find_job(tx, installation.namespace, task, reference)
        if row is not None:
            return row["id"], row["attempt"]
        ended = kept.find_ended(tx, installation.namespace, task, reference)
        is_there = ended and read.get(tx, installation.namespace, ended["job_id"])
    return (ended["job_id"], ended["attempt"]) if ended and is_there else None


def say(
    installation: Installation,
    job_id: str,
    attempt: int,
    outcome: Succeeded | Failed | Progress,
    *,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> Receipt:
    """Say what has become of one attempt of a job, or how far it is."""
    if not isinstance(outcome, Progress):
        return completion.signal(
            installation, job_id, outcome, attempt=attempt, by=by, reason=reason, using=using
        )
    steering.report_progress(
        installation, job_id, outcome.current, outcome.total, outcome.message, attempt=attempt,
        using=using,
    )  # fmt: skip
    return Receipt(job_id, attempt=attempt, status="applied")


def claim(installation: Installation, task: str, reference: str) -> None:
    """Have what was said by a reference count for the job that now carries it."""
    database = installation.database
    with database.alone() as tx:
        row = kept.find_job(tx, installation.namespace, task, reference)
    if row is None:
        return
    try:
        with within(database) as place:
            with place.alone() as tx:
                signals = kept.take_all(tx, installation.namespace, task, reference)
            for waiting in signals:
                _apply(installation, place, row, waiting)
    except Exception:
        logger.exception("Job %s: the sweep looks again at what its reference was told", row["id"])


def _apply(installation: Installation, place: Place, row: Row, waiting: Row) -> None:
    logger.info("Job %s[%s]: a signal was here before its reference", row["task"], row["id"])
    try:
        say(
            installation, row["id"], row["attempt"], _decode(installation, waiting),
            by=waiting["by"], reason=waiting["reason"], using=place,
        )  # fmt: skip
    except ExternalError as exc:
        # Refused, which is in the history.
        logger.warning("Job %s: a signal by its reference does not count: %s", row["id"], exc)


def _encode(
    installation: Installation, outcome: Succeeded | Failed | Progress, reason: str | None
) -> Row:
    if isinstance(outcome, Progress):
        said = steering.check_progress(outcome.current, outcome.total, outcome.message)
        return {"kind": "progress", "details": said}
    if isinstance(outcome, (Succeeded, Failed)):
        return payload.encode_outcome(installation.app, outcome, note=check_note("reason", reason))
    raise OptionError("outcome", f"must be Succeeded, Failed or Progress, not {outcome!r}")


def _decode(installation: Installation, waiting: Row) -> Succeeded | Failed | Progress:
    if waiting["kind"] == "progress":
        return Progress(**{**waiting["details"], "at": datetime.now(UTC)})
    return payload.decode_outcome(installation.app, waiting)


# --- The sweep ------------------------------------------------------------------------------------


def sweep_kept(installation: Installation) -> None:
    """Look again at signals that wait: for a reference, or to be told to a task."""
    database, namespace = installation.database, installation.namespace
    with database.transaction() as tx:
        due = kept.lock_due(tx, namespace, LIFETIME, BATCH)
        jobs = {
            waiting["id"]: read.get(tx, namespace, waiting["job_id"])
            for waiting in due
            if waiting["job_id"] is not None and waiting["kind"] != kept.ENDED
        }
        for waiting in due:
            if _is_over(waiting, jobs):
                kept.drop(tx, namespace, waiting["id"])
            else:
                grace = installation.settings.resume_grace
                wait = wait_before_repeat(grace, waiting["sends"] + 1)
                kept.put_off(tx, namespace, waiting["id"], wait)
    for waiting in due:
        if _is_over(waiting, jobs):
            _log_end(waiting)
        elif waiting["job_id"] is None:
            claim(installation, waiting["task"], waiting["reference"])
        else:
            late.send(installation, waiting["id"], [cast("Row", jobs[waiting["id"]])])


def _is_over(waiting: Row, jobs: dict[int, Row | None]) -> bool:
    if waiting["kind"] == kept.ENDED:
        return True
    if waiting["job_id"] is None:
        return bool(waiting["is_old"])
    return jobs[waiting["id"]] is None


def _log_end(waiting: Row) -> None:
    if waiting["kind"] == kept.ENDED:
        logger.info("Job %s: the reference of its attempt %s is forgotten", waiting["job_id"],
                    waiting["attempt"])  # fmt: skip
    elif waiting["job_id"] is None:
        logger.warning(
            "A signal (%s) for the reference %r of %s is dropped: no job has had it for a day",
            waiting["kind"], waiting["reference"], waiting["task"],
        )  # fmt: skip
    else:
        logger.warning("Job %s is gone, and a late signal with it", waiting["job_id"])
