"""Absurd: a task that awaits an event, and who emits it."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

from absurd_sdk import Absurd

from tests.benchmarks.peers.copying import copy_row
from tests.benchmarks.peers.peer import BULK, LIVE, OUTCOME, TEXT, Act, Peer

SOURCE = "unnest(%(ids)s::uuid[], %(runs)s::uuid[]) AS n(id, run)"


class Measured(Peer):
    """Tasks in PostgreSQL's functions, by the SDK; its schema by ``absurdctl``."""

    name = "absurd"

    def set_up(self) -> None:
        """The schema, the queues, and one task that sleeps until its event."""
        # By its wheel's own text of the schema; the command itself needs psql.
        import absurdctl  # noqa: PLC0415

        self.connect().execute(absurdctl.BUNDLED_SCHEMA_SQL)
        client = self._make_worker(BULK)
        client.create_queue(BULK)
        client.create_queue(LIVE)
        self._given = client.spawn("wait", {"key": "given", "text": TEXT})
        client.work_batch()

    def create(self) -> Act:
        """A task, spawned."""
        client, given = Absurd(self.url, BULK), {"key": "none", "text": TEXT}
        return lambda _: client.spawn("wait", given, queue=BULK)

    def complete(self) -> Act:
        """Its event, emitted; a waiting task is named with its queue."""
        client = Absurd(self.url, BULK)
        return lambda waiting: client.emit_event(f"done:{waiting[1]}", OUTCOME, waiting[0])

    def stock(self, number: int) -> list[Any]:
        """Copies of the task that sleeps."""
        ids, runs = ([str(uuid4()) for _ in range(number)] for _ in range(2))
        event = "'done:' || n.id"
        changes: dict[str, dict[str, str]] = {
            "t_bulk": {"task_id": "n.id", "last_attempt_run": "n.run"},
            "r_bulk": {"task_id": "n.id", "run_id": "n.run", "wake_event": event},
            "w_bulk": {"task_id": "n.id", "run_id": "n.run", "event_name": event},
            "e_bulk": {"event_name": event},
        }
        params = {"given": self._given["task_id"], "ids": ids, "runs": runs}
        with self.connect() as connection, connection.transaction():
            for table, changed in changes.items():
                given = "task_id = %(given)s::uuid"
                if table == "e_bulk":
                    given = "event_name = 'done:' || %(given)s"
                copy_row(
                    connection,
                    f"absurd.{table}",
                    given=given,
                    changes=changed,
                    source=SOURCE,
                    params=params,
                )
        return [(BULK, task_id) for task_id in ids]

    def begin(self, key: str) -> Any:
        """The task has run up to its event."""
        client = Absurd(self.url, LIVE)
        client.spawn("wait", {"key": key, "text": TEXT}, queue=LIVE)
        client.close()
        return LIVE, self.wait_for(f"waiting:{key}")

    def work(self) -> None:
        """A worker, with its own defaults."""
        self._make_worker(LIVE).start_worker()

    def _make_worker(self, queue: str) -> Any:
        client = Absurd(self.url, queue)

        def wait(params: Any, context: Any) -> None:
            task_id, key = str(context.task_id), params["key"]
            if key != "given":
                context.step("say", lambda: self.say_waiting(key, task_id))
            context.await_event(f"done:{task_id}")
            context.step("note", lambda: self.note(key))

        client.register_task("wait")(wait)
        return client
