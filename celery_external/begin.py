"""How a delivery begins: it takes the row, or finds that it has nothing to do."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, cast

from . import message, payload, sending, signals, states
from .checks import check_task_id
from .delivery import Delivery, Superseded
from .errors import DatabaseUnavailableError
from .store import attempts, decisions, deliveries, noted, read

if TYPE_CHECKING:
    from celery.app.task import Task

    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

#: Kind and reason of the ends that time brings about before a worker has taken a job.
EXPIRED = (states.CANCELLED, "Expired before it was started")
PAST_DEADLINE = (states.TIMED_OUT, "The deadline has passed")
#: Seconds between tries to reach the database: half a minute, then the message goes back.
PATIENCE = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0)


def begin(installation: Installation, task: Task[..., Any], request: Any) -> Delivery:
    """Make the delivery that a request is, and claim its row.

    Raises:
        Superseded: There is nothing to do.
    """
    delivery = Delivery(installation, task, request)
    for context in task.request_stack.stack:
        # A custom __call__ may have pushed a copy of the tracer's request; both must know.
        if context.id == request.id:
            context.external = delivery  # type: ignore[attr-defined]
    _claim(delivery)
    return delivery


def _claim(delivery: Delivery) -> None:
    attempt = attempt_of(delivery.request)
    try:
        delivery.row = delivery.insist(lambda: _take_or_insert(delivery, attempt), PATIENCE)
    except DatabaseUnavailableError:
        if not _send_back(delivery, attempt) and attempt is None:
            # Not even a row: only Celery can say that it failed.
            raise
        logger.exception(
            "Job %s cannot begin; its message went back", delivery.job_id, extra=delivery.extra
        )
        raise Superseded("the database is not available") from None


def attempt_of(request: Any) -> int | None:
    """The attempt that a delivery says it is; None: it was sent by name."""
    found = getattr(request, message.ATTEMPT_HEADER, None)
    if found is None:
        found = (request.headers or {}).get(message.ATTEMPT_HEADER)
    return found if isinstance(found, int) else None


def _send_back(delivery: Delivery, attempt: int | None) -> bool:
    """To the end of the queue: where the worker acks early, nobody else has the message."""
    row = {"id": delivery.job_id, "attempt": attempt, "kind": None, **delivery.start_columns()}
    return bool(sending.send(delivery.task.app, [row], None))


def _take_or_insert(delivery: Delivery, attempt: int | None) -> Row:
    if attempt is not None:
        return _take(delivery, attempt)
    # A message without our header: somebody sent the task by name.
    row = _insert_started(delivery)
    return row if row is not None else _take(delivery, 1)


def _insert_started(delivery: Delivery) -> Row | None:
    # Celery takes any id; one that nobody could name in a signal would wait for ever.
    check_task_id(delivery.job_id)
    with delivery.installation.database.alone() as tx:
        return attempts.insert_job(
            tx,
            namespace=delivery.installation.namespace,
            job_id=delivery.job_id,
            start=delivery.start_columns(),
            state=states.STARTED,
            claim=delivery.claim,
            wake_in=delivery.options.trigger_timeout,
        )


def _take(delivery: Delivery, attempt: int) -> Row:
    for _ in range(3):
        with delivery.installation.database.alone() as tx:
            row = deliveries.take(
                tx,
                namespace=delivery.installation.namespace,
                job_id=delivery.job_id,
                attempt=attempt,
                claim=delivery.claim,
                trigger_timeout=delivery.options.trigger_timeout,
                lease=delivery.installation.settings.lease,
                is_redelivered=delivery.is_redelivered,
            )
            found = row or read.get(tx, delivery.installation.namespace, delivery.job_id)
        if row is not None:
            return row
        if not _is_overdue(found, attempt):
            break
        _expire(delivery, cast("Row", found))
    raise Superseded(_why_superseded(found, attempt))


def _is_overdue(row: Row | None, attempt: int) -> bool:
    waiting = {states.PENDING, states.RETRY}
    return row is not None and row["attempt"] == attempt and row["state"] in waiting


def _expire(delivery: Delivery, row: Row) -> None:
    """The message came after the job's time was over and before the sweep did."""
    expires_at, deadline = row["expires_at"], row["deadline"]
    is_expired = expires_at is not None and (deadline is None or expires_at < deadline)
    with noted.deciding(delivery.installation.database) as tx:
        decided = decisions.decide(
            tx,
            namespace=row["namespace"],
            job_id=row["id"],
            attempt=row["attempt"],
            outcome=payload.outcome_columns(*(EXPIRED if is_expired else PAST_DEADLINE)),
            by=None,
            wake_in=delivery.installation.settings.resume_grace,
        )
    if decided is not None:
        signals.send_completed(delivery.task.app, decided)


def _why_superseded(row: Row | None, attempt: int) -> str:
    if row is None:
        return "there is no such job: the transaction that made it was rolled back"
    if row["attempt"] != attempt:
        return f"attempt {attempt} is over, {row['attempt']} is the open one"
    if row["kind"] is not None and row["wake_at"] is not None:
        return "another worker hands its outcome on"
    return f"it is {row['state']} already"
