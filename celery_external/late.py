"""Outcomes that came too late to count, told to the job's task so that it can make up for them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from celery import current_app, shared_task

from . import message, payload, states
from .errors import ExternalError, JobAlreadyCompletedError, StaleAttemptError
from .installation import installation_of
from .store import kept, read
from .view import job_from

if TYPE_CHECKING:
    from celery import Celery

    from .installation import Installation
    from .store.database import Row, Transaction

logger = logging.getLogger("celery_external")

TASK_NAME = "celery_external.late_signal"


def is_to_be_told(app: Celery, row: Row, error: ExternalError, said: Row) -> bool:
    """Whether what was refused is an outcome that came too late, and the task may mind.

    A process that does not know the task leaves that to a worker.
    """
    is_outcome = said["kind"] in {states.SUCCEEDED, states.FAILED} and "outcome" in said
    is_late = isinstance(error, (JobAlreadyCompletedError, StaleAttemptError))
    task = app.tasks.get(row["task"])
    return is_outcome and is_late and getattr(task, "minds_late_signals", task is None)


def keep(installation: Installation, tx: Transaction, row: Row, said: Row, by: str | None) -> int:
    """Keep it until a worker has told the task of it; returns its number, to be sent."""
    signal = {**said, "task": row["task"], "job_id": row["id"], "attempt": row["attempt"], "by": by}
    grace = installation.settings.resume_grace
    return kept.keep(tx, installation.namespace, signal, grace)


def send(installation: Installation, number: int, rows: Sequence[Row]) -> None:
    """Have a worker of the job's queue look at it; if the broker is away, the sweep does so."""
    app = installation.app
    for row in rows:
        try:
            app.send_task(
                TASK_NAME,
                (number,),
                ignore_result=True,
                add_to_parent=False,
                retry=True,
                retry_policy=message.SEND_POLICY,
                **message.route_of(app, row),
            )
        except Exception:
            logger.warning("Job %s: the sweep tells of its late signal", row["id"], exc_info=True)


@shared_task(name=TASK_NAME, ignore_result=True)
def tell_task(number: int) -> None:
    """What a worker runs."""
    tell(installation_of(current_app), number)


def tell(installation: Installation, number: int) -> None:
    """Call the ``on_late_signal`` of a job's task."""
    with installation.database.alone() as tx:
        late = kept.claim(tx, installation.namespace, number, installation.settings.lease)
        row = late and read.get(tx, installation.namespace, late["job_id"])
    if late is None or row is None:
        return
    task: Any = installation.app.tasks.get(late["task"])
    if task is None:
        logger.error(
            "Job %s: a late signal for %s cannot be told: this worker does not know the task",
            row["id"], late["task"],
        )  # fmt: skip
        return
    job, outcome = job_from(installation.app, row), payload.decode_outcome(installation.app, late)
    try:
        task.on_late_signal(job, outcome)
    except Exception:
        logger.exception("on_late_signal of job %s raised; it is called again later", job.id)
        return
    with installation.database.alone() as tx:
        kept.drop(tx, installation.namespace, number)
