"""A chord's part that comes in once more: whether the result backend has counted it already.

Celery on Redis knows its parts by their ids. django-celery-results counts them by a number: a part
that is handed on again, after a worker died between Celery's count and our mark, would be counted
twice, and the chord lost.
"""

from __future__ import annotations

import importlib
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery import states as celery_states

from .keepers import is_from

_MODULE = "django_celery_results.backends.database"
#: Another part may be stored and not counted for a moment; seconds to wait for it, and how often.
_PAUSE, _TRIES = 0.2, 5


@contextmanager
def counted_once(backend: Any, request: Any) -> Iterator[None]:
    """While Celery is told of an outcome: a part that is counted already is not counted again."""
    if not _is_counted(backend, request):
        yield
        return
    body, request.chord = request.chord, None
    try:
        yield
    finally:
        request.chord = body


def _is_counted(backend: Any, request: Any) -> bool:
    if request is None or not request.chord or not request.group:
        return False
    if not is_from(backend, _MODULE):
        return False
    if backend.get_task_meta(request.id, cache=False)["status"] not in celery_states.READY_STATES:
        return False
    for _ in range(_TRIES):
        missing = _count_missing(backend, request.group)
        if missing <= 0:
            return True
        time.sleep(_PAUSE)
    return False


def _count_missing(backend: Any, group_id: str) -> int:
    """How many parts are stored and not counted; of a chord whose body was begun, none."""
    counters = importlib.import_module("django_celery_results.models").ChordCounter.objects
    counter: Any = counters.filter(group_id=group_id).first()
    if counter is None:
        return 0
    members = [node[0][0] for node in json.loads(counter.sub_tasks)]
    results = backend.TaskModel._default_manager  # noqa: SLF001 - as the backend does
    stored = results.filter(task_id__in=members, status__in=celery_states.READY_STATES).count()
    counted = len(members) - int(counter.count)
    return int(stored) - counted
