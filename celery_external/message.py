"""A task's message: taken apart into the row, and put together again to be sent."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

from kombu import Exchange, serialization
from kombu.exceptions import OperationalError
from kombu.serialization import loads, prepare_accept_content
from kombu.utils import json

from .checks import check_text
from .logs import name_job, name_jobs
from .payload import serialize
from .propagation import keep_headers

if TYPE_CHECKING:
    from celery import Celery
    from kombu import Producer

    from .store.database import Row

logger = logging.getLogger("celery_external")

#: The one header that says which attempt a delivery is.
ATTEMPT_HEADER = "external_attempt"
#: The per-call options, so that a job that was sent by name has them too.
OPTIONS_HEADER = "external_options"

#: Where the worker's main process leaves the message's content type for the task's.
CONTENT_TYPE_KEY = "external_content_type"
#: Likewise the headers of one that was sent by name, as they came: a task is not shown all.
SENT_HEADERS_KEY = "external_sent_headers"

#: ``publish`` arguments that are the route or the payload's wrapping, not message properties.
_ROUTE = ("exchange", "routing_key", "delivery_mode", "compression", "priority")
_NOT_KEPT = frozenset(
    {*_ROUTE, "serializer", "content_type", "content_encoding", "headers", "declare", "retry",
     "retry_policy", "expiration", "timeout", "confirm_timeout", "mandatory", "immediate"}
)  # fmt: skip
#: Headers of one delivery only: a parked job neither expires nor waits for an eta, and how long it
#: has waited is not for how long its message was under way, as Sentry would take it.
_NOT_RESENT = frozenset(
    {"eta", "expires", "sentry-task-enqueued-time",
     ATTEMPT_HEADER, CONTENT_TYPE_KEY, SENT_HEADERS_KEY}
)  # fmt: skip

#: One retry at once: a pooled connection may have gone stale. After that the sweep sends.
_SEND_POLICY = {"max_retries": 1, "interval_start": 0, "interval_step": 0, "interval_max": 0}

#: The beginning of the exchanges through which Celery delays messages on quorum queues.
_DELAYED_EXCHANGE = "celery_delayed"


def take_apart(body: Any, publish: Mapping[str, Any], route: Mapping[str, Any] | None) -> Row:
    """The message columns of a row, from what Celery hands to ``Producer.publish``.

    Arguments:
        body: The task message's body, not yet serialized.
        publish: The keyword arguments of ``publish``.
        route: Where the message goes when it is not delayed, if that is elsewhere.
    """
    data, type_ = serialize(body, publish["serializer"], "arguments")
    exchange = publish.get("exchange") or ""
    where = {name: publish[name] for name in _ROUTE if publish.get(name) is not None}
    where["exchange"] = getattr(exchange, "name", exchange)
    if route is not None:
        where.update(route)
    if where["exchange"] and publish.get("declare"):
        where["declare"] = _kept_declaration(publish["declare"][0])
    headers = keep_headers(publish["headers"], _NOT_RESENT)
    envelope = {
        "headers": headers,
        "properties": {k: v for k, v in publish.items() if k not in _NOT_KEPT},
        "type": type_,
        **where,
    }
    return {"envelope": json.dumps(envelope), "body": data, **_shown(headers, where)}


def snapshot(app: Celery, request: Any, task_name: str, serializer: str) -> Row:
    """The message columns of a row, from the request that a worker runs."""
    info = request.delivery_info or {}
    properties = request.properties or {}
    sent = getattr(request, SENT_HEADERS_KEY, None) or request.headers or {}
    headers = {
        **keep_headers(sent, _NOT_RESENT),
        "lang": "py",
        "task": task_name,
        "id": request.id,
        "shadow": request.shadow,
        "group": request.group,
        "group_index": request.group_index,
        "retries": request.retries,
        "timelimit": request.timelimit,
        "root_id": request.root_id or request.id,
        "parent_id": request.parent_id,
        "argsrepr": request.get("argsrepr") or repr(request.args),
        "kwargsrepr": request.get("kwargsrepr") or repr(request.kwargs),
        "origin": request.origin,
        "replaced_task_nesting": request.replaced_task_nesting,
        "stamped_headers": request.stamped_headers,
        "stamps": request.stamps,
    }
    if "ignore_result" in request.__dict__:
        headers["ignore_result"] = request.ignore_result
    where = {
        "exchange": info.get("exchange") or "",
        "routing_key": info.get("routing_key"),
        "priority": info.get("priority"),
        "delivery_mode": properties.get("delivery_mode"),
        "declare": _find_declaration(app, info.get("exchange")),
    }
    data, type_ = snapshot_body(request, serializer)
    envelope = {
        "headers": headers,
        "properties": {
            "correlation_id": request.correlation_id or request.id,
            "reply_to": request.reply_to or "",
        },
        "type": type_,
        **{name: value for name, value in where.items() if value is not None},
    }
    if request.is_eager:
        envelope["eager"] = True
    return {"envelope": json.dumps(envelope), "body": data, **_shown(headers, where)}


def _find_declaration(app: Celery, exchange: str | None) -> Mapping[str, Any] | None:
    queues = app.amqp.queues.values() if exchange else ()
    found = (
        queue for queue in queues if queue.exchange is not None and queue.exchange.name == exchange
    )
    return next(map(_kept_declaration, found), None)


def snapshot_body(request: Any, serializer: str) -> tuple[bytes, str]:
    """The payload as it stands: the arguments, and what comes after the task."""
    embed = {
        "callbacks": request.callbacks,
        "errbacks": request.errbacks,
        "chain": request.chain,
        "chord": request.chord,
    }
    return serialize((request.args, request.kwargs, embed), serializer, "arguments")


def load_body(app: Celery, row: Row) -> tuple[Any, Any, Mapping[str, Any]]:
    """A kept message's args, kwargs, and what comes after: callbacks, errbacks, chain, chord.

    Raises:
        ContentDisallowed: This app does not accept the serializer.
        DecodeError: The data does not fit it.
    """
    content_type, _, encoding = json.loads(row["envelope"])["type"].partition(";")
    accept = prepare_accept_content(app.conf.accept_content)
    args, kwargs, embed = loads(row["body"], content_type, encoding, accept=accept)
    return args, kwargs, embed or {}


def headers_of(row: Row) -> dict[str, Any]:
    """A kept message's headers."""
    headers: dict[str, Any] = json.loads(row["envelope"])["headers"]
    return headers


def serializer_of(row: Row) -> str:
    """The name of the serializer that a kept message was written with."""
    return _serializer_named(json.loads(row["envelope"])["type"].partition(";")[0])


def serializer_in(request: Any) -> str | None:
    """The name of the serializer that a delivered message was written with, where it is known."""
    content_type = getattr(request, CONTENT_TYPE_KEY, None)
    return _serializer_named(content_type) if content_type else None


def _serializer_named(content_type: str) -> str:
    name: str = serialization.registry.type_to_name[content_type]  # type: ignore[attr-defined]
    return name


def _shown(headers: Mapping[str, Any], where: Mapping[str, Any]) -> Row:
    shown = {
        "shadow": headers.get("shadow"),
        "queue": where.get("routing_key"),
        "root_id": headers.get("root_id"),
        "parent_id": headers.get("parent_id"),
        "group_id": headers.get("group"),
    }
    return {name: None if text is None else check_text(name, text) for name, text in shown.items()}


def undelayed_route(
    task: Any, publish: Mapping[str, Any], options: Mapping[str, Any], arguments: tuple[Any, Any]
) -> Mapping[str, Any] | None:
    """Where a message goes that Celery sends the long way round, for its eta's sake."""
    exchange = publish.get("exchange")
    if not str(getattr(exchange, "name", exchange)).startswith(_DELAYED_EXCHANGE):
        return None
    named = ("queue", "exchange", "routing_key")
    options = {**task._get_exec_options(), **options}  # noqa: SLF001 - as Task.apply_async does
    given = {name: options[name] for name in named if options.get(name) is not None}
    route = task.app.amqp.router.route(given, task.name, *arguments, task)
    queue: Any = route.get("queue")
    if queue is not None and queue.exchange.type == "direct":
        return {"exchange": "", "routing_key": queue.name}
    towards = route.get("exchange") or queue.exchange
    return {
        "exchange": getattr(towards, "name", towards),
        "routing_key": route.get("routing_key") or queue.routing_key,
    }


def send_task(app: Celery, row: Row, name: str, args: tuple[Any, ...], **options: Any) -> None:
    """Send a task of ours to where the job's own message goes.

    Raises:
        kombu.exceptions.OperationalError: The broker is away (OSError likewise).
    """
    route, send = _route_of(app, row), cast("Any", app.send_task)
    send(name, args, ignore_result=True, add_to_parent=False, retry=True,
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
    try:
        with app.producer_or_acquire() as producer:
            for row in to_publish:
                if _send_one(app, producer, row, resume_queue):
                    sent.add(row["id"])
                elif unfit is not None:
                    unfit.add(row["id"])
    except Exception:
        ids = [row["id"] for row in to_publish if row["id"] not in sent]
        logger.warning("The broker is away; the sweep will send job %s", ", ".join(ids),
                       exc_info=True, extra=name_jobs(ids))  # fmt: skip
    return sent


def _is_eager(row: Row) -> bool:
    try:
        return bool(json.loads(row["envelope"]).get("eager"))
    except (AttributeError, ValueError):
        return False  # damaged, and told of where it is to be sent


def _resume_inline(app: Celery, row: Row) -> bool:
    headers = json.loads(row["envelope"])["headers"]
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


def _kept_declaration(queue: Any) -> Mapping[str, Any]:
    return {"queue": queue.name, "type": queue.exchange.type}


def _send_one(app: Celery, producer: Producer, row: Row, resume_queue: str | None) -> bool:
    try:
        envelope = json.loads(row["envelope"])
        queue = resume_queue if row["kind"] is not None else None
        exchange = "" if queue else envelope["exchange"]
        routing_key = queue or envelope["routing_key"]
        content_type, _, encoding = envelope["type"].partition(";")
        arguments = {
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
        return False
    try:
        producer.publish(row["body"], retry=True, retry_policy=_SEND_POLICY, **arguments)
    except (OperationalError, OSError):
        raise  # the others would fare no better
    except Exception:
        logger.exception("The message of job %s cannot be sent", row["id"], extra=name_job(row))
        return False
    return True
