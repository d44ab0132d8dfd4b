"""How long a result backend remembers groups and results, and how to have it remember longer.

Nothing is created and nothing is made shorter, so that any number of processes may do it at once.
"""

from __future__ import annotations

import importlib
import itertools
import json
from collections.abc import Callable, Iterable, Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Protocol, TypeVar

from kombu.utils.encoding import bytes_to_str

from .canvas import Ids, ids_in

T = TypeVar("T")

#: Ids in one request or statement.
BATCH = 500


class Keeper(Protocol):
    """What can be done about the expiry of one result backend."""

    @property
    def lifetime(self) -> float:
        """Seconds until something is forgotten."""

    @property
    def interval(self) -> float:
        """Seconds after which it is time to renew."""

    def find_members(self, groups: Iterable[str]) -> Ids:
        """The ids that the backend has for the members of these groups, and the groups'."""

    def renew(self, ids: Ids) -> None:
        """Have what there is of them live for the lifetime, from now."""


def keeper_of(backend: Any) -> Keeper | None:
    """The keeper for a backend; None where nothing expires, or nothing can be done about it."""
    for cls in type(backend).__mro__:
        make = _KEEPERS.get(f"{cls.__module__}.{cls.__qualname__}")
        if make is not None:
            keeper = make(backend)
            return keeper if keeper.lifetime else None
    return None


def is_from(backend: Any, module: str) -> bool:
    """Whether its class, or a base, is a module's; by name: many of them need what is not there."""
    return any(cls.__module__ == module for cls in type(backend).__mro__)


def seconds_of(expires: Any) -> float:
    """A backend's expiry, a number or a timedelta; 0: never."""
    return float(expires.total_seconds() if isinstance(expires, timedelta) else expires or 0)


def batches(items: Iterable[T], size: int = BATCH) -> Iterator[list[T]]:
    """So many at a time, in order."""
    rest = iter(items)
    while batch := list(itertools.islice(rest, size)):
        yield batch


class _RedisKeeper:
    """Keys that expire one by one."""

    #: The group as it was saved, and a chord's results, total, size and members that returned. Not
    #: ``.c``: the claim of a worker that starts the body must end when that worker is gone.
    SUFFIXES = ("", ".j", ".t", ".s", ".d")

    RENEW = """
    local lifetime = tonumber(ARGV[1])
    for _, key in ipairs(KEYS) do
        local left = redis.call('PTTL', key)
        if left >= 0 and left < lifetime then
            redis.call('PEXPIRE', key, lifetime)
        end
    end
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        # Celery 5.6 knows one expiry only.
        chord_expires = getattr(backend, "chord_expires", None)
        both = (seconds_of(backend.expires), seconds_of(chord_expires))
        self._finite = [seconds for seconds in both if seconds]

    @property
    def lifetime(self) -> float:
        return max(self._finite, default=0)

    @property
    def interval(self) -> float:
        return min(self._finite) / 4

    def find_members(self, groups: Iterable[str]) -> Ids:
        backend, found = self._backend, Ids()
        for batch in batches(groups):
            with backend.client.pipeline(transaction=False) as pipe:
                for group_id in batch:
                    pipe.get(backend.get_key_for_group(group_id))
                    pipe.smembers(backend.get_key_for_group(group_id, ".d"))
                answers = iter(pipe.execute())
            for saved, returned in zip(answers, answers, strict=True):
                if saved:
                    found.add(ids_in([backend.decode(saved)["result"]]))
                found.tasks |= {bytes_to_str(member).rpartition(":")[0] for member in returned}
        return found

    def renew(self, ids: Ids) -> None:
        backend = self._backend
        keys = [backend.get_key_for_task(task_id) for task_id in ids.tasks]
        keys += [
            backend.get_key_for_group(group_id, suffix)
            for group_id in ids.groups
            for suffix in self.SUFFIXES
        ]
        script = backend.client.register_script(self.RENEW)
        for batch in batches(keys):
            script(keys=batch, args=[int(self.lifetime * 1000)])


class _TableKeeper:
    """Rows that ``celery.backend_cleanup`` removes by the time at which they were done."""

    def __init__(self, backend: Any) -> None:
        self._backend = backend

    @property
    def lifetime(self) -> float:
        return seconds_of(self._backend.expires)

    @property
    def interval(self) -> float:
        return self.lifetime / 4

    def _restore(self, group_ids: Iterable[str]) -> Ids:
        results = (self._backend.restore_group(group_id, cache=False) for group_id in group_ids)
        return ids_in(result for result in results if result is not None)


class _SqlKeeper(_TableKeeper):
    """SQLAlchemy's tables."""

    def find_members(self, groups: Iterable[str]) -> Ids:
        # The members of a chord stand only in the arguments of its celery.chord_unlock.
        saved: list[str] = []
        for batch in batches(groups):
            saved += self._run(partial(self._find_saved, batch))
        return self._restore(saved)

    def renew(self, ids: Ids) -> None:
        tasks, groups = self._backend.task_cls, self._backend.taskset_cls
        for table, column, wanted in (
            (tasks, tasks.task_id, ids.tasks),
            (groups, groups.taskset_id, ids.groups),
        ):
            for batch in batches(sorted(wanted)):
                self._run(partial(self._touch, table, column, batch))

    def _find_saved(self, ids: list[str], session: Any) -> list[str]:
        column = self._backend.taskset_cls.taskset_id
        return [found for (found,) in session.query(column).filter(column.in_(ids))]

    def _touch(self, table: Any, column: Any, ids: list[str], session: Any) -> None:
        now = datetime.now(UTC)
        stale = table.date_done < now - timedelta(seconds=self.interval)
        rows = session.query(table).filter(column.in_(ids), stale)
        rows.update({table.date_done: now}, synchronize_session=False)
        session.commit()

    def _run(self, use: Callable[[Any], Any]) -> Any:
        session = self._backend.ResultSession()
        try:
            return use(session)
        finally:
            session.close()


class _DjangoKeeper(_TableKeeper):
    """The models of django-celery-results."""

    def find_members(self, groups: Iterable[str]) -> Ids:
        counters = self._find("models", "ChordCounter").objects
        saved = self._backend.GroupModel._default_manager  # noqa: SLF001 - as the backend does
        found = Ids()
        for batch in batches(groups):
            chords = counters.filter(group_id__in=batch).values_list("sub_tasks", flat=True)
            for members in chords:
                found.add(ids_in(json.loads(members)))
            ids = saved.filter(group_id__in=batch).values_list("group_id", flat=True)
            found.add(self._restore(list(ids)))
        return found

    def renew(self, ids: Ids) -> None:
        now = self._find("utils", "now")()
        stale = now - timedelta(seconds=self.interval)
        for model, column, wanted in (
            (self._backend.TaskModel, "task_id", ids.tasks),
            (self._backend.GroupModel, "group_id", ids.groups),
        ):
            rows = model._default_manager  # noqa: SLF001
            # Outside of a task nobody else sees to a connection that has broken off.
            rows.connection_for_write().close_if_unusable_or_obsolete()
            for batch in batches(sorted(wanted)):
                found = rows.filter(**{f"{column}__in": batch, "date_done__lt": stale})
                found.update(date_done=now)

    @staticmethod
    def _find(module: str, name: str) -> Any:
        return getattr(importlib.import_module(f"django_celery_results.{module}"), name)


_KEEPERS: dict[str, Callable[[Any], Keeper]] = {
    "celery.backends.redis.RedisBackend": _RedisKeeper,
    "celery.backends.database.DatabaseBackend": _SqlKeeper,
    "django_celery_results.backends.database.DatabaseBackend": _DjangoKeeper,
}
