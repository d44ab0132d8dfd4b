"""What a result backend has of tasks and groups, and until when, read behind Celery's back."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any, Protocol

import sqlalchemy as sa
from redis import Redis

#: Seconds for which Celery keeps results in these tests.
EXPIRES = 6
CLEAN_UP_INTERVAL = 0.3


class Memory(Protocol):
    """The records of one result backend."""

    def expiries(self) -> dict[str, float]:
        """When each record that has an end is forgotten, by its own name (Unix time)."""

    def name_task(self, task_id: str) -> str:
        """The record of a task's result."""

    def close(self) -> None:
        """Let go of connections."""


class Keys:
    """Redis."""

    def __init__(self, url: str) -> None:
        self._client = Redis.from_url(url, decode_responses=True)

    def expiries(self) -> dict[str, float]:
        """All keys with a time to live."""
        lives = {key: self._client.pttl(key) for key in self._client.scan_iter()}
        now = time.time()
        return {key: now + int(life) / 1000 for key, life in lives.items() if int(life) >= 0}

    def name_task(self, task_id: str) -> str:
        """Celery's key."""
        return f"celery-task-meta-{task_id}"

    def close(self) -> None:
        """Let go of connections."""
        self._client.close()


class Tables:
    """The rows that ``celery.backend_cleanup`` removes; ``tables`` names each with its id."""

    CELERY = (("celery_taskmeta", "task_id"), ("celery_tasksetmeta", "taskset_id"))
    DJANGO = (
        ("django_celery_results_taskresult", "task_id"),
        ("django_celery_results_groupresult", "group_id"),
    )

    def __init__(
        self, url: str, tables: tuple[tuple[str, str], ...], clean_up: Callable[[], object]
    ) -> None:
        self._engine = sa.create_engine(url)
        self._tables = tables
        self._clean_up = clean_up
        self._cleaned_at = 0.0

    def expiries(self) -> dict[str, float]:
        """All rows with a time at which they were done, while they are cleaned up now and again."""
        if time.monotonic() - self._cleaned_at > CLEAN_UP_INTERVAL:
            self._cleaned_at = time.monotonic()
            self._clean_up()
        found: dict[str, float] = {}
        with self._engine.connect() as connection:
            for table, column in self._tables:
                done = sa.column("date_done", sa.DateTime())
                query: Any = sa.select(sa.column(column), done).select_from(sa.table(table))
                for own_id, moment in connection.execute(query.where(done.is_not(None))):
                    found[own_id] = _seconds(moment) + EXPIRES
        return found

    def name_task(self, task_id: str) -> str:
        """The row's id."""
        return task_id

    def close(self) -> None:
        """Let go of connections."""
        self._engine.dispose()


def _seconds(moment: datetime) -> float:
    return moment.replace(tzinfo=UTC).timestamp()
