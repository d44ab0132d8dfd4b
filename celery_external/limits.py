"""What no renewal can hold is said at the start, by name; docs/long-waits.md says more."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from . import message
from .checks import as_seconds
from .keepers import is_from, keeper_of, seconds_of
from .naming import external_tasks

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("celery_external")

#: Names of the tasks that were warned of, each once a process.
_warned: set[str] = set()


def warn_of_backend(app: Celery) -> None:
    """At a worker's start: where a job that waits for long may find nobody to answer."""
    tasks = ", ".join(sorted(external_tasks(app)))
    backend: Any = app.backend
    if not tasks or keeper_of(backend) is not None:
        return
    if is_from(backend, "celery.backends.rpc"):
        logger.warning(
            "The rpc:// result backend answers the process that made the call: a result of %s is "
            "lost when that process has ended before the job. Use another backend for long waits",
            tasks,
        )
    elif lifetime_of(backend):
        logger.warning(
            "The result backend %s forgets after %.0f s (result_expires), and celery-external "
            "cannot renew there: a chord or group with %s that waits longer is lost. Use Redis, a "
            "database or django-celery-results, or raise result_expires",
            type(backend).__name__,
            lifetime_of(backend),
            tasks,
        )


def warn_of_group(task: Any, options: Mapping[str, Any]) -> None:
    """At the first call as a member of a group without a chord: it is held only if it is saved."""
    if not options.get("group_id") or options.get("chord") or task.name in _warned:
        return
    if options.get("ignore_result", task.ignore_result):
        return
    lifetime = lifetime_of(task.app.backend)
    of_call = (options.get("headers") or {}).get(message.OPTIONS_HEADER) or {}
    if not lifetime or not may_outlast(of_call.get("timeout", task.timeout), lifetime):
        return
    _warned.add(task.name)
    logger.warning(
        "Task %s, a member of a group without a chord, may wait for longer than %.0f s "
        "(result_expires): the results of the group's other members will be gone by then, unless "
        "the group is saved (GroupResult.save)",
        task.name,
        lifetime,
    )


def may_outlast(timeout: float | timedelta | None, lifetime: float) -> bool:
    """Whether a job with this timeout may wait for longer than results are kept."""
    seconds = as_seconds(timeout)
    return seconds is None or seconds > lifetime


def lifetime_of(backend: Any) -> float:
    """Seconds until a result is forgotten; 0: never, or there are none."""
    if is_from(backend, "celery.backends.rpc") or type(backend).__name__ == "DisabledBackend":
        return 0
    return seconds_of(backend.expires)
