"""The headers that carry a trace: whatever a job sends belongs to the trace that started it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

#: W3C's (OpenTelemetry, Sentry), Sentry's own, Zipkin's, Jaeger's and Datadog's.
_NAMES = frozenset({"traceparent", "tracestate", "baggage", "sentry-trace", "b3", "uber-trace-id"})
_PREFIXES = ("x-b3-", "x-datadog-")
#: Who traces may write the custom headers twice: Celery shows a task the inner ones.
_INNER = "headers"

_started_in: ContextVar[Mapping[str, Any] | None] = ContextVar("started_in", default=None)


@contextmanager
def in_trace_of(headers: Mapping[str, Any]) -> Iterator[None]:
    """Have what is sent meanwhile belong to the trace of a kept message.

    The process that sends it may be traced as well: it would say that it is its own.
    """
    token = _started_in.set(headers)
    try:
        yield
    finally:
        _started_in.reset(token)


def restore_trace(headers: dict[str, Any]) -> None:
    """Put a message into the trace of :func:`in_trace_of`, if that has one."""
    kept = _started_in.get()
    trace = _find_trace(kept) if kept is not None else {}
    if not trace:
        return
    _replace_trace(headers, trace)
    inner = headers.get(_INNER)
    if isinstance(inner, dict):
        _replace_trace(inner, trace)


def keep_headers(headers: Mapping[str, Any], dropped: Collection[str]) -> dict[str, Any]:
    """A message's headers for later deliveries: without ``dropped``, also among the inner ones."""
    kept = {name: value for name, value in headers.items() if name not in dropped}
    if isinstance(kept.get(_INNER), Mapping):
        kept[_INNER] = keep_headers(kept[_INNER], dropped)
    return kept


def _replace_trace(headers: dict[str, Any], trace: Mapping[str, Any]) -> None:
    for name in [name for name in headers if _is_of_trace(name)]:
        del headers[name]
    headers.update(trace)


def _find_trace(headers: Mapping[str, Any]) -> dict[str, Any]:
    inner = headers.get(_INNER)
    both = {**(inner if isinstance(inner, Mapping) else {}), **headers}
    return {name: value for name, value in both.items() if _is_of_trace(name)}


def _is_of_trace(name: str) -> bool:
    return name.lower() in _NAMES or name.lower().startswith(_PREFIXES)
