"""What callers do on SQLite, in processes of their own: bare updates, and signals."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from celery import Celery

from celery_external import External, get_external
from tests.benchmarks.owing import choose_send

#: As the package waits for its turn (seconds).
BUSY_TIMEOUT = 30
UPDATE = (
    "UPDATE floor SET state = 'SUCCESS', outcome = ? WHERE id = ? AND state = 'PARKED' "
    "RETURNING id, state"
)


def make_acts(path: str) -> Callable[[tuple[str, str]], object]:
    """What is called with the case's name and the id of a row, or of a job."""
    connection, external = connect(path), open_external(path)
    choose_send(is_sent=False)

    def act(item: tuple[str, str]) -> None:
        case, row_id = item
        if case == "commit":
            external.signal_succeeded(row_id, {"approved": True}, attempt=1, by="alice")
            return
        assert connection.execute(UPDATE, (b'{"approved": true}', row_id)).fetchall()

    return act


def open_external(path: str) -> External:
    """celery-external on a file, with a broker that nothing is sent to."""
    app = Celery("bench-sqlite", broker="memory://", set_as_current=False)
    app.conf.external_database_url = f"sqlite:///{path}"
    return get_external(app)


def connect(path: str) -> sqlite3.Connection:
    """A bare connection, as durable as the package's own."""
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT, isolation_level=None)
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    return connection
