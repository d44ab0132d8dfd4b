"""An outcome on its way to Celery: returned or raised, answered or replaced by another step."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from celery.exceptions import Ignore
from kombu.exceptions import ContentDisallowed, DecodeError

from . import message, payload, states
from .delivery import Delivery, Superseded
from .errors import ExternalJobCancelled, ExternalJobTimedOut, TriggerLostError
from .job import Succeeded
from .store import decisions, noted

if TYPE_CHECKING:
    from .store.database import Row

logger = logging.getLogger("celery_external")


def hand_on(delivery: Delivery) -> Any:
    """Return or raise the outcome in the row; Celery's tracer does the rest."""
    try:
        if delivery.kind == states.TIMED_OUT:
            _answer_timeout(delivery)
        return _return_or_raise(delivery)
    except (ContentDisallowed, DecodeError) as exc:
        logger.exception(
            "The outcome of job %s cannot be read here", delivery.job_id, extra=delivery.extra
        )
        delivery.release()
        raise Superseded(f"its outcome cannot be read: {exc}") from None


def hand_on_early_outcome(delivery: Delivery) -> Any:
    """The same of a job completed while its trigger ran; or leave it to whoever has it."""
    if not delivery.claim_early_outcome():
        raise delivery.leave()
    logger.info("Job %s was completed while its trigger ran", delivery.job_id, extra=delivery.extra)
    return hand_on(delivery)


def _return_or_raise(delivery: Delivery) -> Any:
    app, row = delivery.task.app, delivery.row
    reason = row["reason"] or ""
    match delivery.kind:
        case states.SUCCEEDED:
            return payload.load(app, row["outcome"], row["outcome_type"])
        case states.FAILED:
            raise payload.decode_exception(app, row)
        case states.TIMED_OUT:
            raise ExternalJobTimedOut(reason)
        case states.LOST:
            raise TriggerLostError(reason)
        case states.CANCELLED:
            raise ExternalJobCancelled(reason)
        case states.CONTINUED:
            kept = payload.load(app, row["outcome"], row["outcome_type"])
            return _send_replacement(delivery, _prepare(delivery, kept))
        case kind:
            logger.error(
                "Job %s: this version knows no outcome %r",
                delivery.job_id,
                kind,
                extra=delivery.extra,
            )
            raise Superseded(f"this version knows no outcome {kind!r}")


def _answer_timeout(delivery: Delivery) -> None:
    """Ask the task once what a timeout means, and keep the answer before handing it on."""
    try:
        answer = delivery.hooks.on_timeout(delivery.job())
        if not is_signature(answer):
            answer = delivery.check_result(answer)
    except ExternalJobTimedOut:
        return
    except Exception as exc:
        if delivery.finished:
            raise  # a retry: the next attempt is under way
        logger.exception("on_timeout of job %s raised", delivery.job_id, extra=delivery.extra)
        columns = payload.encode_exception(delivery.task.app, exc)
    else:
        columns = _encode_answer(delivery, answer)
    row = delivery.insist(lambda: _write_answer(delivery, columns))
    if row is None:
        raise delivery.leave()
    delivery.row = row


def _write_answer(delivery: Delivery, columns: Row) -> Row | None:
    with noted.deciding(delivery.installation.database) as tx:
        return decisions.answer_timeout(tx, delivery.row, delivery.claim, columns)


def _encode_answer(delivery: Delivery, answer: Any) -> Row:
    app = delivery.task.app
    if not is_signature(answer):
        return payload.encode_outcome(app, Succeeded(answer), note=delivery.row["reason"])
    return _continuation(delivery, _take_place(delivery, answer))


def _prepare(delivery: Delivery, kept: Any) -> Any:
    """A trigger's replacement was prepared by Celery; one that came with a signal is not yet."""
    if "frozen" in kept:
        return _take_place(delivery, kept["frozen"])
    return delivery.task.app.signature(kept)


def _take_place(delivery: Delivery, step: Any) -> Any:
    """Celery's ``replace``, as far as what it would send."""
    delivery.is_preparing = True
    try:
        return delivery.task.replace(delivery.task.app.signature(step))
    finally:
        delivery.is_preparing = False


def is_signature(answer: Any) -> bool:
    """Whether it is a step to go on with, and no result."""
    return isinstance(answer, dict) and "subtask_type" in answer


# --- Another step in the job's place --------------------------------------------------------------


def replace(delivery: Delivery, sig: Any) -> Any:
    """A trigger goes on as another step (``Task.replace``): keep it, then send it.

    ``sig`` has the job's id and place in the canvas already.
    """
    if delivery.is_preparing:
        return sig
    if delivery.request.is_eager:
        # Celery runs it here and now, and has its result, which is not this task's.
        delivery.result_type = None
        return Succeeded(delivery.hooks.send_replacement(sig))
    delivery.refuse_in_transaction()
    if delivery.decide_own(_continuation(delivery, sig)):
        return _send_replacement(delivery, sig)
    # The trigger ends here, and after it whoever may hand the outcome on.
    raise Superseded("it was completed while its trigger ran")


def _continuation(delivery: Delivery, sig: Any) -> Row:
    serializer = message.serializer_of(delivery.row)
    data, type_ = payload.serialize(dict(sig), serializer, "replacement")
    return payload.outcome_columns(
        states.CONTINUED, reason=f"Replaced by {sig}", outcome=data, outcome_type=type_
    )


def _send_replacement(delivery: Delivery, sig: Any) -> Any:
    try:
        # In eager mode it returns the replacement's result, otherwise it raises Ignore.
        return delivery.hooks.send_replacement(sig)
    except Ignore:
        delivery.settle()
        raise
    except Exception as exc:
        logger.exception(
            "Job %s cannot be replaced now; it will be tried again",
            delivery.job_id,
            extra=delivery.extra,
        )
        delivery.release()
        raise Superseded(f"its replacement could not be sent: {exc}") from None
