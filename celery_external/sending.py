"""Kept messages, sent again: one by one, or many in one batch of the transport's."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from kombu import Exchange
from kombu.exceptions import OperationalError
from kombu.utils import json

from .keepers import batches, is_from
from .logs import name_job, name_jobs
from .message import ATTEMPT_HEADER, headers_of, load_body

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Producer

    from .store.database import Row

logger = logging.getLogger("celery_external")

#: One retry at once: a pooled connection may have gone stale. After that the sweep sends.
_SEND_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}
#: Messages that go to the broker together.
BATCH = 500

#: A row, and what its message is published with.
_Message: TypeAlias = "tuple[Row, dict[str, Any]]"


def send_task(app: Celery, row: Row, name: str, args: tuple[Any, ...], **options: Any) -> None:
    """Send a task of ours to where the job's own message goes.

    Raises:
        kombu.exceptions.OperationalError: The broker is away (OSError likewise).
    """
    route, send_it = _route_of(app, row), cast("Any", app.send_task)
    send_it(name, args, ignore_result=True, add_to_parent=False, retry=True,
            retry_policy=_SEND_POLICY, **route, **options)  # fmt: skip


def _route_of(app: Celery, row: Row) -> dict[str, Any]:
    envelope = json.loads(row["envelope"])
    exchange, routing_key = envelope["exchange"], envelope["routing_key"]
    if exchange == "":
        return {"queue": routing_key}
    declared = _declared(app, exchange, routing_key, envelope.get("declare"))
    return {"exchange": exchange, "routing_key": routing_key, "declare": declared}


def send(
    app: Celery, rows: Iterable[Row], resume_queue: str | None, unfit: set[str] | None = None
) -> set[str]:
    """Send the jobs' own messages again; returns the ids that the broker took.

    What it did not take is logged and left to the sweep: the outcome is committed already.
    A job that was started in eager mode goes on here and now. ``unfit`` gets the ids of those
    whose own message is at fault, and not the broker.
    """
    sent: set[str] = set()
    to_publish = []
    for row in rows:
        if not _is_eager(row):
            to_publish.append(row)
        elif _resume_inline(app, row):
            sent.add(row["id"])
    if not to_publish:
        return sent
    at_fault = set() if unfit is None else unfit
    try:
        with app.producer_or_acquire() as producer:
            for batch in batches(to_publish, BATCH):
                _send_batch(app, producer, batch, resume_queue, sent=sent, at_fault=at_fault)
    except Exception:
        ids = [row["id"] for row in to_publish if row["id"] not in sent]
        logger.warning("The broker is away; the sweep will send job %s", ", ".join(ids),
                       exc_info=True, extra=name_jobs(ids))  # fmt: skip
    return sent


def _is_eager(row: Row) -> bool:
    if '"eager"' not in row["envelope"]:
        return False  # it is taken apart once only, to be sent
    try:
        return bool(json.loads(row["envelope"]).get("eager"))
    except (AttributeError, ValueError):
        return False  # damaged, and told of where it is to be sent


def _resume_inline(app: Celery, row: Row) -> bool:
    headers = headers_of(row)
    try:
        args, kwargs, embed = load_body(app, row)
        app.tasks[row["task"]].apply(
            args,
            kwargs,
            task_id=row["id"],
            link=embed.get("callbacks"),
            link_error=embed.get("errbacks"),
            retries=headers.get("retries"),
            headers={**headers, ATTEMPT_HEADER: row["attempt"]},
            throw=False,
        )
    except Exception:
        logger.exception(
            "The eager job %s cannot go on in this process", row["id"], extra=name_job(row)
        )
        return False
    return True


def _send_batch(
    app: Celery,
    producer: Producer,
    rows: Iterable[Row],
    resume_queue: str | None,
    *,
    sent: set[str],
    at_fault: set[str],
) -> None:
    messages: list[_Message] = []
    for row in rows:
        arguments = _put_together(app, row, resume_queue)
        if arguments is None:
            at_fault.add(row["id"])
        else:
            messages.append((row, arguments))
    if len(messages) > 1 and _publish_together(producer, messages):
        sent.update(row["id"] for row, _ in messages)
        return
    for row, arguments in messages:
        done = sent if _publish_one(producer, row, arguments) else at_fault
        done.add(row["id"])


def _put_together(app: Celery, row: Row, resume_queue: str | None) -> dict[str, Any] | None:
    try:
        envelope = json.loads(row["envelope"])
        queue = resume_queue if row["kind"] is not None else None
        exchange = "" if queue else envelope["exchange"]
        routing_key = queue or envelope["routing_key"]
        content_type, _, encoding = envelope["type"].partition(";")
        return {
            **envelope["properties"],
            "headers": {**envelope["headers"], ATTEMPT_HEADER: row["attempt"]},
            "exchange": exchange,
            "routing_key": routing_key,
            "declare": _declared(app, exchange, routing_key, envelope.get("declare")),
            "content_type": content_type,
            "content_encoding": encoding,
            "compression": envelope.get("compression"),
            "priority": envelope.get("priority", 0),
            "delivery_mode": envelope.get("delivery_mode") or app.conf.task_default_delivery_mode,
        }
    except Exception:
        logger.exception(
            "The message of job %s cannot be put together", row["id"], extra=name_job(row)
        )
        return None


def _declared(
    app: Celery, exchange: str, routing_key: str, kept: Mapping[str, Any] | None
) -> list[Any]:
    """What must exist for the message to arrive: Redis forgets, and knows no other process's."""
    if exchange == "":
        return [app.amqp.queues[routing_key]]
    if kept is None:
        return []
    if kept["queue"] in app.amqp.queues:
        return [app.amqp.queues[kept["queue"]]]
    return [Exchange(exchange, type=kept["type"])]


def _publish_together(producer: Producer, batch: Sequence[_Message]) -> bool:
    """In one round trip, where the transport can; False: nobody knows, send them one by one.

    What arrived all the same then comes twice, which does no harm: the row is claimed once.
    """
    if not getattr(producer, "supports_batch_publish", False):  # kombu before 5.7 has no batches
        return False
    try:
        with producer.batch(max_size=2 * BATCH):  # type: ignore[attr-defined]
            for row, arguments in batch:
                producer.publish(row["body"], **_undeclared(producer, arguments))
    except Exception:
        ids = [row["id"] for row, _ in batch]
        logger.info("Sent one by one, since they could not be together: job %s", ", ".join(ids),
                    exc_info=True, extra=name_jobs(ids))  # fmt: skip
        return False
    return True


def _publish_one(producer: Producer, row: Row, arguments: Mapping[str, Any]) -> bool:
    try:
        producer.publish(row["body"], retry=True, retry_policy=_SEND_POLICY,
                         **_undeclared(producer, arguments))  # fmt: skip
    except (OperationalError, OSError):
        raise  # the others would fare no better
    except Exception:
        logger.exception("The message of job %s cannot be sent", row["id"], extra=name_job(row))
        return False
    keep_client(producer.channel)
    return True


def _undeclared(producer: Any, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Without what this connection has declared already.

    kombu sees that by itself, but only with a copy for the channel: half as long as the publish.
    """
    known = producer.connection.declared_entities
    return {
        **arguments,
        "declare": [each for each in arguments["declare"] if hash(each) not in known],
    }


def keep_client(channel: Any) -> None:
    """Have kombu's Redis channel keep the client that it makes for each publish.

    redis-py makes one in twice the time that the publish takes.
    """
    make = getattr(channel, "Client", None)
    if not isinstance(make, _KeptClient) and is_from(channel, "kombu.transport.redis"):
        channel.Client = _KeptClient(make)


class _KeptClient:
    """A client for a pool of connections, made once as long as the pool is the same."""

    def __init__(self, make: Any) -> None:
        self._make = make
        self._client: Any = None

    def __call__(self, *, connection_pool: Any, **options: Any) -> Any:
        if self._client is None or self._client.connection_pool is not connection_pool:
            self._client = self._make(connection_pool=connection_pool, **options)
        return self._client
