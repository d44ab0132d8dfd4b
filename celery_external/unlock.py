"""``celery.chord_unlock`` for chords that wait outside: it looks less often the longer they wait.

On a result backend without a join of its own Celery polls a chord's header each second, and so for
days. Chords without an open external job are left as Celery has them.
"""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .canvas import ids_in
from .installation import installation_of
from .keepers import keeper_of
from .store import waiting

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("celery_external")

TASK_NAME = "celery.chord_unlock"
#: The part of the time waited that the body may begin late, and the seconds it is at the most.
SHARE = 0.1
LONGEST = 60.0

#: Marks an app, and its task, as watched already.
_WATCHED = "_celery_external_watches_unlock"


def watch_unlock(app: Celery) -> None:
    """Slow the app's ``celery.chord_unlock`` down as soon as it is there."""
    if not getattr(app, _WATCHED, False):
        setattr(app, _WATCHED, True)
        app.on_after_finalize.connect(_wrap, weak=False)
    if app.finalized:  # type: ignore[attr-defined]  # celery-types lacks it
        _wrap(app)


def _wrap(sender: Celery, **_kwargs: Any) -> None:
    task: Any = sender.tasks.get(TASK_NAME)
    if task is None or getattr(task, _WATCHED, False):
        return
    unlock = task.run

    @functools.wraps(unlock)
    def run(*args: Any, **kwargs: Any) -> Any:
        return unlock(*args, **{**kwargs, **_slow_down(task, args, kwargs)})

    task.run = run
    setattr(task, _WATCHED, True)


def _slow_down(task: Any, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
    """The arguments to change: the interval, where the header holds an open external job."""
    try:
        group_id, _body = args
        ids = ids_in(kwargs["result"])
        installation = installation_of(task.app)
        with installation.database.alone() as tx:
            age = waiting.youngest_age(tx, installation.namespace, ids.tasks)
        if age is None:
            return {}
        ids.groups.add(group_id)
        keeper = keeper_of(task.app.backend)
        if keeper is not None:
            # Nobody but this message knows the members.
            keeper.renew(ids)
        given = kwargs.get("interval")
        interval: float = task.default_retry_delay if given is None else given
        longest = _longest(task.app, LONGEST if keeper is None else keeper.interval)
    except Exception as exc:  # noqa: BLE001 - then it goes on as Celery has it
        logger.warning("A chord with external jobs cannot be looked at: %r", exc)
        return {}
    return {"interval": max(interval, min(SHARE * age.total_seconds(), longest))}


def _longest(app: Celery, renewal: float) -> float:
    """An ETA that is longer than the broker's visibility timeout is delivered again and again."""
    options = app.conf.broker_transport_options or {}
    visibility = options.get("visibility_timeout") or 4 * LONGEST
    return min(LONGEST, renewal, visibility / 4)
