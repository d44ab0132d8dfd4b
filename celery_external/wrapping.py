"""What Celery calls of a task, wrapped: its ``run``, and the tracer that runs it."""

from __future__ import annotations

import functools
import inspect
import sys
from typing import Any

from billiard.einfo import ExceptionInfo
from celery import states as celery_states
from celery.app import trace as celery_trace
from celery.app.trace import TraceInfo, trace_ok_t
from celery.exceptions import Ignore

from .backend import Undelivered
from .delivery import Superseded, delivery_of
from .installation import installation_of
from .trigger import Parked, execute


def wrap_run(run: Any) -> Any:
    """The user's ``run``, entered only when the row says that the trigger is to run.

    Wrapped in the class, so that ``autoretry_for``, which wraps the instance's ``run``, sees the
    outcome; ``__call__`` stays the user's.
    """
    is_static = isinstance(run, staticmethod)
    function = run.__func__ if is_static else run

    @functools.wraps(function)
    def deliver(self: Any, *args: Any, **kwargs: Any) -> Any:
        bound = function if is_static else functools.partial(function, self)
        request = self.request
        if request.called_directly or delivery_of(request) is not None:
            return bound(*args, **kwargs)
        return execute(installation_of(self.app), self, functools.partial(bound, *args, **kwargs))

    if is_static:
        # inspect looks through __wrapped__, and would take the first argument for self.
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = inspect.signature(function)
        deliver.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[own, *signature.parameters.values()]
        )
    return deliver


def wrap_tracer(tracer: Any) -> Any:
    """Celery's tracer, which Undelivered leaves as if the task had raised Ignore."""
    if tracer is None:
        return None

    @functools.wraps(tracer)
    def trace(task_id: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        try:
            return tracer(task_id, args, kwargs, request)
        except Undelivered as exc:
            ignore = Ignore(f"not delivered, owed: {exc.problem!r}")
            info = _describe_briefly(ignore)
            return trace_ok_t(info, TraceInfo(celery_states.IGNORED, ignore), 0.0, None)

    return trace


def _describe_briefly(exc: Exception) -> ExceptionInfo:
    """What a tracer returns of an exception that is no error: not where it came from."""
    try:
        raise exc.with_traceback(None)
    except type(exc):
        return ExceptionInfo(internal=True)


_describe_error = celery_trace.ExceptionInfo  # type: ignore[attr-defined]


def _describe(exc_info: Any = None, internal: bool = False) -> Any:  # noqa: FBT001, FBT002 - Celery's
    """In place of ExceptionInfo, where Celery's tracer tells the worker how a task ended.

    That lists each instruction of each function on the way, the tracer's own too, and pickles the
    list. For a park, which is no error, that took longer than all the rest of the delivery.
    """
    exc = sys.exc_info()[1]
    if exc_info is None and isinstance(exc, (Parked, Superseded)):
        return _describe_briefly(exc)
    return _describe_error(exc_info, internal)


celery_trace.ExceptionInfo = _describe  # type: ignore[attr-defined]
