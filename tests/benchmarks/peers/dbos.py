"""DBOS: a workflow that receives, a client that sends."""

from __future__ import annotations

import os
import threading
from typing import Any
from uuid import uuid4

from dbos import DBOS, DBOSClient

from tests.benchmarks.peers.copying import copy_row
from tests.benchmarks.peers.peer import BULK, LIVE, OUTCOME, TEXT, Act, Peer

APPLICATION = {"name": "peers", "application_version": "1", "executor_id": "one"}


class Measured(Peer):
    """Workflows enqueued by a client, as one starts them from another process."""

    name = "dbos"

    def set_up(self) -> None:
        """Its own migrations, and the queues."""
        DBOS(config=self._config())
        DBOS.launch()
        DBOS.register_queue(BULK)
        DBOS.register_queue(LIVE)
        DBOS.destroy()

    def create(self) -> Act:
        """A workflow, enqueued."""
        client = self._client()
        return lambda _: client.enqueue(_options(BULK), "none", TEXT)

    def complete(self) -> Act:
        """A message to the workflow."""
        client = self._client()
        return lambda workflow_id: client.send(workflow_id, OUTCOME, "done")

    def stock(self, number: int) -> list[Any]:
        """Workflows that exist; a message is written the same way whatever they do just now."""
        given = self._client().enqueue(_options(BULK), "none", TEXT).workflow_id
        ids = [str(uuid4()) for _ in range(number)]
        with self.connect() as connection:
            copy_row(
                connection,
                "dbos.workflow_status",
                given="workflow_uuid = %(given)s",
                changes={"workflow_uuid": "n.id"},
                source="unnest(%(ids)s::text[]) AS n(id)",
                params={"given": given, "ids": ids},
            )
        return ids

    def begin(self, key: str) -> Any:
        """The workflow has run up to its ``recv``."""
        self._client().enqueue(_options(LIVE), key, TEXT)
        return self.wait_for(f"waiting:{key}")

    def work(self) -> None:
        """An executor that runs workflows of one queue."""
        DBOS(config=self._config())

        def go_on(key: str) -> None:
            self.note(key)

        note = DBOS.step(name="note")(go_on)

        def wait(key: str, _text: str) -> None:
            self.say_waiting(key, DBOS.workflow_id)
            DBOS.recv("done", timeout_seconds=3600)
            note(key)

        DBOS.workflow(name="wait")(wait)
        DBOS.listen_queues([LIVE])
        DBOS.launch()
        threading.Event().wait()

    def _config(self) -> Any:
        return {
            **APPLICATION,
            "system_database_url": self.env["DATABASE_URL"],
            "log_level": os.environ.get("PEERS_LOG", "WARNING"),
        }

    _shared: Any = None

    def _client(self) -> Any:
        # One for all threads, as its documentation has it, with a connection for each of them.
        if self._shared is None:
            self._shared = DBOSClient(
                system_database_url=self.env["DATABASE_URL"],
                system_database_pool_size=8,
                application_name=APPLICATION["name"],
            )
        return self._shared


def _options(queue: str) -> Any:
    return {"queue_name": queue, "workflow_name": "wait", "app_version": "1"}
