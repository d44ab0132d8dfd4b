"""A task's message: taken apart into the row, and what is read of it there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from kombu import serialization
from kombu.serialization import loads, prepare_accept_content
from kombu.utils import json

from .checks import check_text
from .payload import serialize
from .propagation import keep_headers

if TYPE_CHECKING:
    from celery import Celery

    from .store.database import Row

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


def _kept_declaration(queue: Any) -> Mapping[str, Any]:
    return {"queue": queue.name, "type": queue.exchange.type}


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
