"""Celery by hand: a table of one's own, one guarded UPDATE, and the next task sent after it.

What a team writes today. Nothing sends again what was lost between the commit and the send.
"""

from __future__ import annotations

import os
import time
from typing import Any
from uuid import uuid4

from celery import Celery
from psycopg.types.json import Jsonb
from redis import Redis

from tests.benchmarks.peers.ours import CELERY, WORKER
from tests.benchmarks.peers.peer import BULK, LIVE, OUTCOME, TEXT, Act, Peer

TABLE = """
CREATE TABLE waiting (
    id text PRIMARY KEY, state text NOT NULL, input jsonb NOT NULL, outcome jsonb,
    next_task text NOT NULL, next_queue text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(), completed_at timestamptz
)
"""
INSERT = "INSERT INTO waiting VALUES (%s, 'waiting', %s, NULL, %s, %s)"
UPDATE = (
    "UPDATE waiting SET state = 'done', outcome = %s, completed_at = now() "
    "WHERE id = %s AND state = 'waiting' RETURNING next_task, next_queue"
)
FILL = (
    "INSERT INTO waiting SELECT n.id, 'waiting', %s, NULL, 'by_hand.go_on', %s "
    "FROM unnest(%s::text[]) AS n(id)"
)

app = Celery("by_hand", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.update(broker_pool_limit=64, broker_connection_retry_on_startup=True)
notes = Redis.from_url(os.environ["NOTES_URL"])


@app.task(name="by_hand.ask")
def ask(_job_id: str, _given: Any) -> None:
    """Send the request to the outside."""


@app.task(name="by_hand.go_on")
def go_on(job_id: str, _outcome: Any) -> None:
    """The next step."""
    notes.rpush(f"note:{job_id}", repr(time.monotonic()))


class Measured(Peer):
    """A row, and messages beside it."""

    name = "by_hand"

    def set_up(self) -> None:
        """The table."""
        self.connect().execute(TABLE)

    def create(self) -> Act:
        """The row, then the message of the task that asks."""
        start = self._make_start(BULK)
        return lambda _: start(str(uuid4()))

    def complete(self) -> Act:
        """The update, then the message of the next task."""
        connection, outcome = self.connect(), Jsonb(OUTCOME)

        def complete(job_id: str) -> None:
            row = connection.execute(UPDATE, (outcome, job_id)).fetchone()
            assert row is not None
            app.send_task(row[0], [job_id, OUTCOME], queue=row[1])

        return complete

    def stock(self, number: int) -> list[Any]:
        """Rows that wait."""
        ids = [str(uuid4()) for _ in range(number)]
        self.connect().execute(FILL, (Jsonb({"text": TEXT}), BULK, ids))
        return ids

    def begin(self, key: str) -> Any:
        """The row waits from its insert on."""
        self._make_start(LIVE)(key)
        return key

    def command(self) -> list[str]:
        """The same worker as ours."""
        return [*CELERY, "tests.benchmarks.peers.by_hand", *WORKER]

    def _make_start(self, queue: str) -> Act:
        connection, given = self.connect(), {"text": TEXT}

        def start(job_id: str) -> None:
            connection.execute(INSERT, (job_id, Jsonb(given), "by_hand.go_on", queue))
            app.send_task("by_hand.ask", [job_id, given], queue=queue)

        return start
