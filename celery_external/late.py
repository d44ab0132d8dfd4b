"""Outcomes that came too late to count, told to the job's task so that it can make up for them."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

from celery import current_app, shared_task
from kombu.exceptions import OperationalError

from . import payload, sending, states
from .errors import ExternalError, JobAlreadyCompletedError, StaleAttemptError
from .installation import installation_of
from .logs import name_job
from .store import kept, read
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row, Transaction

logger = logging.getLogger("celery_external")

TASK_NAME = "celery_external.late_signal"
#: The lines of a history that say of an attempt that it is over.
_ENDS = {"retried", "replaced", "continued", "rerun"}


def is_late(error: ExternalError, said: Row) -> bool:
    """Whether what was refused is an outcome, and was refused because it came too late."""
    is_outcome = said["kind"] in {states.SUCCEEDED, states.FAILED} and "outcome" in said
    return is_outcome and isinstance(error, (JobAlreadyCompletedError, StaleAttemptError))


def keep(  # noqa: PLR0917
    installation: Installation, tx: Transaction, row: Row, attempt: int, said: Row, by: str | None
) -> int | None:
    """Keep it until a worker has told the attempt's task of it; returns its number, to be sent.

    None: the task does not mind. A process that does not know it leaves that to a worker.
    """
    whose = _attempt(tx, row, attempt)
    task = installation.app.tasks.get(whose["task"])
    if not getattr(task, "minds_late_signals", task is None):
        return None
    grace = installation.settings.resume_grace
    return kept.keep(tx, installation.namespace, {**said, **whose, "by": by}, grace)


def _attempt(tx: Transaction, row: Row, attempt: int) -> Row:
    """Task and reference of an attempt, which may be over: a replacement is another task."""
    found: Row = row
    if attempt != row["attempt"]:
        lines = read.get_history(tx, row["namespace"], row["id"])
        ended = (line["details"] for line in lines if line["event"] in _ENDS)
        found = next((one for one in ended if one and one["attempt"] == attempt), row)
    return {"job_id": row["id"], "attempt": attempt, "task": found["task"],
            "reference": found["reference"] if found["attempt"] == attempt else None}  # fmt: skip


def send(installation: Installation, number: int, row: Row, sends: int = 0) -> bool:
    """Have a worker of the job's queue look at it; False: the broker is away, the sweep does so."""
    try:
        sending.send_task(installation.app, row, TASK_NAME, (number, sends))
    except (OperationalError, OSError) as exc:
        logger.warning(
            "Job %s: the sweep tells of its late signal: %r", row["id"], exc, extra=name_job(row)
        )
        return False
    except Exception:
        logger.exception(
            "Job %s: its late signal cannot be told of", row["id"], extra=name_job(row)
        )
    return True


@shared_task(name=TASK_NAME, ignore_result=True)
def tell_task(number: int, sends: int) -> None:
    """What a worker runs."""
    tell(installation_of(current_app), number, sends)


def tell(installation: Installation, number: int, sends: int) -> None:
    """Call the ``on_late_signal`` of a job's task."""
    app, namespace = installation.app, installation.namespace
    with installation.database.alone() as tx:
        late = kept.claim(tx, namespace, number, sends, installation.settings.lease)
        row = late and read.get(tx, namespace, late["job_id"])
    if late is None or row is None:
        return
    task: Any = app.tasks.get(late["task"])
    if task is None:
        logger.error(
            "Job %s: a late signal for %s cannot be told: this worker does not know the task",
            row["id"], late["task"], extra=name_job(row))  # fmt: skip
        return
    # As it stands, but of the attempt that the outcome was for.
    whose = {name: late[name] for name in ("task", "attempt", "reference")}
    job = dataclasses.replace(job_from(app, row), **whose)
    try:
        task.on_late_signal(job, payload.decode_outcome(app, late))
    except Exception:
        logger.exception(
            "on_late_signal of job %s raised; it is called again later", job.id, extra=name_job(job)
        )
        return
    with installation.database.alone() as tx:
        kept.drop(tx, namespace, number)
