"""The app of ``tests.apps.core`` for processes that are to die: it stops where a test says so.

Where the test has made the file ``stop-POINT-SUBJECT``, the process writes ``POINT SUBJECT`` to the
file ``stopped`` and waits until the other is gone. The points are what the user of a library may
hook into: Celery's signals, ours, and on SQLite the trace of the statements.
"""

from __future__ import annotations

import sqlite3
from typing import Any

import sqlalchemy as sa
from celery.signals import after_task_publish, before_task_publish, task_prerun

from celery_external.signals import job_parked
from tests.apps.core import SCRATCH, app, write_line
from tests.kills.statements import name_of
from tests.waiting import wait_for

__all__ = ["app"]

PATIENCE = 100.0


def stop(point: str, subject: str | None) -> None:
    """Wait here, if a test wants it."""
    path = SCRATCH / f"stop-{point}-{subject}"
    if path.exists():
        write_line("stopped", f"{point} {subject}")
        wait_for(lambda: not path.exists(), timeout=PATIENCE, what=f"{path.name} to go")


@before_task_publish.connect
def stop_before_publish(headers: Any = None, **_kwargs: Any) -> None:
    """A step is about to be published by the one before it."""
    stop("publish", headers["parent_id"])
    stop(f"publish-{headers['task'].rpartition('.')[2]}", headers["parent_id"])


@after_task_publish.connect
def stop_after_publish(headers: Any = None, **_kwargs: Any) -> None:
    """The broker has the step."""
    stop("published", headers["parent_id"])


@job_parked.connect
def stop_parked(job_id: str, **_kwargs: Any) -> None:
    """The row says PARKED, and the message is not acked yet."""
    stop("parked", job_id)


@task_prerun.connect
def note_run(task_id: str, **_kwargs: Any) -> None:
    """Count the deliveries of each id."""
    write_line("delivered", task_id)


@sa.event.listens_for(sa.pool.Pool, "connect")
def watch_statements(connection: Any, _record: object) -> None:
    """On SQLite: stop before a statement is executed; PostgreSQL's are stopped by a lock."""
    if isinstance(connection, sqlite3.Connection):
        connection.set_trace_callback(stop_before_statement)


def stop_before_statement(sql: str) -> None:
    """It is traced with its values, the job's id among them."""
    if sql == "COMMIT":
        stop("commit", "any")
    name = name_of(sql, "sqlite")
    if name is not None:
        for path in SCRATCH.glob(f"stop-{name}-*"):
            subject = path.name.removeprefix(f"stop-{name}-")
            if subject in sql:
                stop(name, subject)
