"""Signals that name a job by the outside system's own id, which may come before the job has it."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, cast

from . import completion, late, payload, states, steering
from .checks import check_reference, check_text
from .delivery import wait_before_repeat
from .errors import DatabaseUnavailableError, ExternalError, OptionError
from .job import Failed, Progress, Receipt, Succeeded
from .logs import name_job
from .naming import check_note
from .store import kept, read
from .store.place import within

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row, Transaction
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
    by, place = check_note("by", by), installation.place(using)
    with place.alone() as tx:
        named = _find(installation, tx, task, reference)
    if named is not None:
        return say(installation, *named, outcome, by=by, reason=reason, using=place)
    encoded = _encode(installation, outcome, reason)
    waiting = {**encoded, "task": task, "reference": reference, "by": by}
    with place.alone() as tx:
        grace = installation.settings.resume_grace
        kept.keep(tx, installation.namespace, waiting, grace)
    logger.info("No job of %s has the reference %r yet: its signal is kept", task, reference)
    # Whoever is second, the signal or the trigger, sees what the other has committed.
    place.after_commit([], lambda _: claim(installation, task, reference))
    return Receipt("", attempt=0, status="kept")


def _find(
    installation: Installation, tx: Transaction, task: str, reference: str
) -> tuple[str, int] | None:
    """The job and the attempt that carry a reference, or did while that attempt was on."""
    namespace = installation.namespace
    row = read.get_by_reference(tx, namespace, task, reference)
    if row is not None:
        return row["id"], row["attempt"]
    ended = kept.find_ended(tx, namespace, task, reference)
    row = read.get(tx, namespace, ended["job_id"]) if ended else None
    if ended is None or row is None or _may_take(row, ended["attempt"]):
        return None
    return row["id"], ended["attempt"]


def _may_take(row: Row, ended: int) -> bool:
    """Whether the attempt that is on may be given the reference of the one before yet."""
    is_on = row["kind"] is None and row["state"] != states.PARKED and row["reference"] is None
    return is_on and row["attempt"] != ended


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
    """Have what was said by a reference count for the attempt that carries it, or did."""
    database = installation.database
    try:
        with database.alone() as tx:
            if not kept.is_waiting(tx, installation.namespace, task, reference):
                return
        with within(database) as place:
            with place.alone() as tx:
                named = _find(installation, tx, task, reference)
                if named is None:
                    return
                signals = kept.take_all(tx, installation.namespace, task, reference)
            for waiting in signals:
                _apply(installation, place, *named, waiting)
    except Exception:
        logger.exception("The sweep looks again at what %r of %s was told", reference, task)


def _apply(
    installation: Installation, place: Place, job_id: str, attempt: int, waiting: Row
) -> None:
    logger.info(
        "Job %s[%s]: a signal was here before its reference",
        waiting["task"],
        job_id,
        extra=name_job(job_id, waiting["task"]),
    )
    try:
        say(
            installation, job_id, attempt, _decode(installation, waiting),
            by=waiting["by"], reason=waiting["reason"], using=place,
        )  # fmt: skip
    except DatabaseUnavailableError:
        raise
    except ExternalError as exc:
        # Refused, which is in the history.
        logger.warning(
            "Job %s: a signal by its reference does not count: %s",
            job_id,
            exc,
            extra=name_job(job_id, waiting["task"]),
        )


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
    while _sweep_batch(installation):
        pass


def _sweep_batch(installation: Installation) -> bool:
    """Whether there are more that are due."""
    database, namespace = installation.database, installation.namespace
    with database.transaction() as tx:
        due = kept.lock_due(tx, namespace, LIFETIME, BATCH)
        jobs = {
            waiting["id"]: read.get(tx, namespace, waiting["job_id"])
            for waiting in due
            if waiting["job_id"] is not None and waiting["kind"] != kept.ENDED
        }
        over, claimed = [], []
        for waiting in due:
            if _is_over(waiting, jobs):
                kept.drop(tx, namespace, waiting["id"])
                over.append(waiting)
            else:
                claimed.append(_put_off(installation, tx, waiting))
    for waiting in over:
        _log_end(waiting)
    can_send = True
    for waiting in claimed:
        if waiting["job_id"] is None:
            claim(installation, waiting["task"], waiting["reference"])
        elif can_send:
            # With the broker away the others would fare no better.
            row = cast("Row", jobs[waiting["id"]])
            can_send = late.send(installation, waiting["id"], row, waiting["sends"])
    return len(due) == BATCH and can_send


def _put_off(installation: Installation, tx: Transaction, waiting: Row) -> Row:
    """Until the next look; nobody else has it, for it is locked."""
    sends = waiting["sends"]
    wait = wait_before_repeat(installation.settings.resume_grace, sends + 1)
    return cast("Row", kept.claim(tx, installation.namespace, waiting["id"], sends, wait))


def _is_over(waiting: Row, jobs: dict[int, Row | None]) -> bool:
    if waiting["kind"] == kept.ENDED:
        return True
    if waiting["job_id"] is None:
        return bool(waiting["is_old"])
    return jobs[waiting["id"]] is None


def _log_end(waiting: Row) -> None:
    if waiting["kind"] == kept.ENDED:
        logger.info("Job %s: the reference of its attempt %s is forgotten", waiting["job_id"],
                    waiting["attempt"],
                    extra=name_job(waiting["job_id"], waiting["task"]))  # fmt: skip
    elif waiting["job_id"] is None:
        logger.warning(
            "A signal (%s) for the reference %r of %s is dropped: no job has had it for a day",
            waiting["kind"], waiting["reference"], waiting["task"],
        )  # fmt: skip
    else:
        logger.warning(
            "Job %s is gone, and a late signal with it",
            waiting["job_id"],
            extra=name_job(waiting["job_id"], waiting["task"]),
        )
