"""The trigger of a job: it runs, then the job parks, or its outcome is handed on at once."""

from __future__ import annotations

import copy
import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from celery.app.trace import get_actual_ignore_result  # type: ignore[attr-defined]
from celery.exceptions import Ignore, Reject, Retry

from . import message, payload, signals, states
from .begin import begin
from .current import CurrentJob, running
from .delivery import Delivery, Superseded
from .errors import DatabaseUnavailableError, UnserializableError
from .job import Failed, Succeeded
from .outcome import hand_on, hand_on_early_outcome
from .store import deliveries, read

if TYPE_CHECKING:
    from celery.app.task import Task

    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

#: A trigger that ran longer may have been delivered to another worker meanwhile (seconds).
LONG_TRIGGER = 1.0


class Parked(Ignore):
    """Ends the delivery of a job that now waits: Celery acks the message and calls nothing."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


class Rejected(Reject):
    """The trigger rejected its message, and nothing else did: Celery may record that."""


def execute(
    installation: Installation, task: Task[..., Any], run_trigger: Callable[[], Any]
) -> Any:
    """Do what the row says this delivery is for; called in place of the task's ``run``."""
    delivery = begin(installation, task, task.request)
    return run(delivery, run_trigger) if delivery.kind is None else hand_on(delivery)


def run(delivery: Delivery, run_trigger: Callable[[], Any]) -> Any:
    """Run the trigger, then park; or hand on what was said meanwhile."""
    began = time.monotonic()
    embed = copy.deepcopy(_embed(delivery))
    delivery.current = CurrentJob(delivery)
    token = running.set(delivery.current)
    try:
        value = run_trigger()
        if isinstance(value, Succeeded):
            value = Succeeded(delivery.check_result(value.result))
    except Exception as exc:
        if delivery.claim_early_outcome():
            logger.info("Job %s was completed while its trigger ran; %r is not its end",
                        delivery.job_id, exc, extra=delivery.extra)  # fmt: skip
            return hand_on(delivery)
        _end_by(delivery, exc)
        raise
    finally:
        delivery.current = None
        running.reset(token)
    if delivery.finished:
        # retry(throw=False): the next attempt is under way.
        raise Superseded("a next attempt carries on")
    if isinstance(value, (Succeeded, Failed)):
        return _end_with(delivery, value)
    if (time.monotonic() - began > LONG_TRIGGER or delivery.is_redelivered) and not _is_ours(
        delivery
    ):
        return hand_on_early_outcome(delivery)
    body = None if _embed(delivery) == embed else _snapshot_body(delivery)
    return _park(delivery, value, body)


def _embed(delivery: Delivery) -> tuple[Any, ...]:
    request = delivery.request
    return (request.callbacks, request.errbacks, request.chain, request.chord)


def _snapshot_body(delivery: Delivery) -> bytes:
    serializer = message.serializer_of(delivery.row)
    return message.snapshot_body(delivery.request, serializer)[0]


def _is_ours(delivery: Delivery) -> bool:
    with delivery.installation.database.alone() as tx:
        row = read.get(tx, delivery.installation.namespace, delivery.job_id)
    return row is not None and row["claim"] == delivery.claim and row["kind"] is None


def _end_by(delivery: Delivery, exc: Exception) -> None:
    """The trigger left by one of Celery's own doors, without an outcome of its own."""
    if delivery.finished or isinstance(exc, Retry):
        return
    if isinstance(exc, Reject):
        if not exc.requeue:  # type: ignore[attr-defined]
            delivery.decide_own(payload.outcome_columns(states.FAILED, reason="Rejected"))
            delivery.settle()
            raise Rejected(*exc.args) from exc
    elif isinstance(exc, Ignore):
        reason = "The trigger raised Ignore"
        delivery.decide_own(payload.outcome_columns(states.CANCELLED, reason=reason))
        delivery.settle()


def _end_with(delivery: Delivery, outcome: Succeeded | Failed) -> Any:
    """The trigger knows the outcome already: the job ends without parking."""
    if delivery.decide_own(payload.encode_outcome(delivery.task.app, outcome)):
        return hand_on(delivery)
    return hand_on_early_outcome(delivery)


def _park(delivery: Delivery, value: Any, body: bytes | None) -> Any:
    _store_parked(delivery)
    kept = _dump_trigger_result(delivery, value)
    try:
        row = delivery.insist(lambda: _write_park(delivery, body, *kept))
    except DatabaseUnavailableError:
        logger.exception(
            "Job %s could not park; its trigger will count as lost",
            delivery.job_id,
            extra=delivery.extra,
        )
        raise Superseded("the database is not available") from None
    if row is None:
        return hand_on_early_outcome(delivery)
    delivery.row = row
    delivery.finished = True
    logger.info("Job %s[%s] parked", delivery.task.name, delivery.job_id, extra=delivery.extra)
    _tell_parked(delivery)
    raise Parked(delivery.job_id)


def _store_parked(delivery: Delivery) -> None:
    """Before the row says PARKED: nobody hands an outcome on while it says STARTED.

    Written later, it would overwrite the outcome of whoever was faster.
    """
    task, request = delivery.task, delivery.request
    if request.is_eager or get_actual_ignore_result(task, request):
        return
    meta = {"labels": delivery.row["labels"], "meta": delivery.row["meta"]}
    try:
        task.backend.store_result(delivery.job_id, meta, states.PARKED, request=request)
    except Exception:
        logger.exception(
            "The result backend does not show job %s as PARKED",
            delivery.job_id,
            extra=delivery.extra,
        )


def _dump_trigger_result(delivery: Delivery, value: Any) -> tuple[bytes | None, str | None]:
    if value is None:
        return None, None
    try:
        return payload.dump(delivery.task.app, value, "trigger's return value")
    except UnserializableError as exc:
        # The outside work has begun: this is no reason to fail.
        logger.warning(
            "Job %s parks without its trigger's return value: %s",
            delivery.job_id,
            exc,
            extra=delivery.extra,
        )
        return None, None


def _write_park(
    delivery: Delivery, body: bytes | None, data: bytes | None, type_: str | None
) -> Row | None:
    # In eager mode there is no worker that would poll.
    polling = None if delivery.request.is_eager else delivery.hooks.polling
    with delivery.installation.database.alone() as tx:
        return deliveries.park(
            tx,
            delivery.row,
            delivery.claim,
            call_deadline=delivery.options.deadline,
            timeout=delivery.options.timeout,
            heartbeat_timeout=delivery.options.heartbeat_timeout,
            poll_interval=polling.interval if polling else None,
            body=body,
            trigger_result=data,
            trigger_result_type=type_,
        )


def _tell_parked(delivery: Delivery) -> None:
    try:
        delivery.hooks.on_parked(delivery.job())
    except Exception:
        logger.exception("on_parked of job %s raised", delivery.job_id, extra=delivery.extra)
    signals.job_parked.send(delivery.task, job_id=delivery.job_id)
