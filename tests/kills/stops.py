"""How a test stops a process at a point, sees that it is there, and clears up after its death."""

from __future__ import annotations

import weakref
from typing import Protocol

import psycopg
import sqlalchemy as sa

from tests.kills.statements import name_of
from tests.systems import System
from tests.waiting import wait_for

LOCK = "SELECT 1 FROM celery_external_job WHERE id = %s FOR UPDATE"
#: Who waits for a connection, and in which statement.
WAITING = "SELECT pid, query FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))"


class Stop(Protocol):
    """A point at which a process is made to wait, from the moment this is made."""

    def wait(self) -> None:
        """Return when the process is there."""

    def clear(self, *, is_outlived: bool = False) -> None:
        """Let the living go on; of the dead only what outlives them, if that is wanted."""


class FileStop:
    """A point of ``tests.kills.app``."""

    def __init__(self, system: System, point: str, subject: str) -> None:
        self._system = system
        self._line = f"{point} {subject}"
        self._path = system.scratch / f"stop-{point}-{subject}"
        self._path.touch()

    def wait(self) -> None:
        wait_for(
            lambda: self._line in self._system.lines("stopped"), what=f"a stop at {self._line}"
        )

    def clear(self, *, is_outlived: bool = False) -> None:
        assert not is_outlived
        self._path.unlink(missing_ok=True)


class LockStop:
    """A statement on PostgreSQL that waits for what this has locked."""

    def __init__(self, system: System, lock: str, *parameters: str) -> None:
        self._system = system
        self._connection = connect(system)
        # Also where the test ends before it has cleared this up.
        weakref.finalize(self, self._connection.close)
        self._connection.execute(lock, parameters)
        self._waiting: dict[int, str] = {}

    def wait(self) -> None:
        self._waiting = wait_for(self._find_waiting, what="a statement to wait for the lock")

    def clear(self, *, is_outlived: bool = False) -> None:
        # The server executes a dead client's statement as soon as it has the lock.
        for pid in () if is_outlived else self._waiting:
            self._connection.execute("SELECT pg_terminate_backend(%s, 10000)", (pid,))
        self._connection.close()

    def _find_waiting(self) -> dict[int, str]:
        with connect(self._system) as looking:
            own = self._connection.info.backend_pid
            return dict(looking.execute(WAITING, (own,)).fetchall())


class RowStop(LockStop):
    """One statement of the library, at one job's row, on PostgreSQL."""

    def __init__(self, system: System, statement: str, job_id: str) -> None:
        super().__init__(system, LOCK, job_id)
        self._statement = statement

    def _find_waiting(self) -> dict[int, str]:
        # The statements are older than the locks: who has just begun to wait still shows what it
        # executed before.
        waiting = super()._find_waiting()
        names = [name_of(query, "postgresql") for query in waiting.values()]
        return waiting if names == [self._statement] else {}


def stop_at(system: System, statement: str, job_id: str) -> Stop:
    """Stop a process before it executes this statement for this job, on either database."""
    kind = RowStop if is_on_postgresql(system) else FileStop
    return kind(system, statement, job_id)


def is_on_postgresql(system: System) -> bool:
    """Where its jobs are."""
    return system.env["DATABASE_URL"].startswith("postgresql")


def connect(system: System) -> psycopg.Connection:
    """A connection to the system's PostgreSQL, of the test's own."""
    url = sa.make_url(system.env["DATABASE_URL"]).set(drivername="postgresql")
    return psycopg.connect(url.render_as_string(hide_password=False))
