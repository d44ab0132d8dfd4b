"""A worker of three children, and the locks and copies of messages that make them meet."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, closing, contextmanager
from typing import Any
from uuid import uuid4

import psycopg
import sqlalchemy as sa

from tests.ends.scene import Act, Scene
from tests.processes import Process
from tests.waiting import wait_for

CHILDREN = 3
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"

LOCK = "SELECT 1 FROM celery_external_job WHERE id = ANY(%s) FOR UPDATE"


class Lock:
    """A lock on jobs' rows; on SQLite, where writers take turns, on all."""

    def __init__(self, crowd: Crowd) -> None:
        self._crowd = crowd

    def wait_for_waiting(self, number: int) -> None:
        """Return when so many wait for the lock, as PostgreSQL sees them.

        SQLite tells nobody who waits: there it is what the worker says it is doing.
        """
        if self._crowd.is_sqlite:
            return
        url = self._crowd.url
        plain = url.set(drivername="postgresql").render_as_string()
        with psycopg.connect(plain, autocommit=True) as connection:
            wait_for(
                lambda: connection.execute(WAITING, (url.database,)).fetchone() == (number,),
                what=f"{number} to wait for the lock",
            )


class Crowd(Scene):
    """A scene on which several jobs, or several deliveries of one, are on at once."""

    @property
    def url(self) -> sa.URL:
        """Where the jobs are."""
        return sa.make_url(self.system.env["DATABASE_URL"])

    @property
    def is_sqlite(self) -> bool:
        """Whether writers take turns."""
        return self.url.get_backend_name() == "sqlite"

    def barrier(self) -> None:
        """Return when the worker has nothing to do."""

        def is_idle() -> bool:
            if self.system.queue_length():
                return False
            inspect = self.inspect()
            return not any(
                any(found.values()) for found in (inspect.active(), inspect.reserved()) if found
            )

        wait_for(is_idle, what="the worker to have nothing to do")

    def wait_active(self, number: int) -> None:
        """Return when so many children are busy."""

        def count() -> int:
            found: Any = self.inspect().active()
            return sum(len(jobs) for jobs in (found or {}).values())

        wait_for(lambda: count() == number, what=f"{number} to be active")

    @contextmanager
    def lock(self, *acts: Act) -> Iterator[Lock]:
        """Hold the rows: whoever wants to write one waits until the end of the block."""
        if self.is_sqlite:
            with closing(sqlite3.connect(str(self.url.database), isolation_level=None)) as held:
                held.execute("BEGIN IMMEDIATE")
                yield Lock(self)
                held.execute("COMMIT")
            return
        plain = self.url.set(drivername="postgresql").render_as_string()
        with psycopg.connect(plain) as connection:
            ids = [act.id for act in acts]
            connection.execute(LOCK, (ids,))
            yield Lock(self)

    def call_at_once(self, *tasks: Sequence[str]) -> None:
        """Have processes do what :mod:`tests.races.caller` can, from the same moment on."""
        name = uuid4().hex
        with ExitStack() as running:
            made = [
                Process("tests.races.caller", name, *task, env=self.system.env) for task in tasks
            ]
            for caller in made:
                running.enter_context(caller)
            for caller in made:
                caller.wait_for_log("ready")
            self.system.write(f"go-{name}")
            for caller in made:
                assert caller.wait(60) == 0, caller.log()

    def copy_message(self, act: Act, queue: str) -> Callable[..., None]:
        """Take the job's message out of a queue that nobody reads; returns what publishes it."""
        with self.system.app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            message: Any = self.system.app.amqp.queues[queue](channel).get(no_ack=True)
        assert message.headers["id"] == act.id
        properties = {
            name: value
            for name, value in message.properties.items()
            if name in {"correlation_id", "reply_to", "priority"}
        }

        def publish(times: int = 1) -> None:
            with self.system.app.producer_or_acquire() as producer:
                for _ in range(times):
                    producer.publish(
                        message.body,
                        headers=message.headers,
                        content_type=message.content_type,
                        content_encoding=message.content_encoding,
                        routing_key="celery",
                        **properties,
                    )

        return publish
