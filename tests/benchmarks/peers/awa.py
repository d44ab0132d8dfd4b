"""awa: a job that waits for a callback, and who completes it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import awa

from tests.benchmarks.peers.peer import BULK, LIVE, OUTCOME, TEXT, Act, Peer

#: Jobs that a worker has let wait, and that nobody holds in memory.
PARKED = "parked"


@dataclass
class Wait:
    """What a job is given."""

    key: str
    text: str


class Measured(Peer):
    """Jobs inserted and completed by the synchronous client, run by asynchronous workers."""

    name = "awa"

    def set_up(self) -> None:
        """Its own migrations, and the storage that it recommends."""
        client = awa.Client(self.url)
        client.migrate()
        client.install_queue_storage()

    def create(self) -> Act:
        """A job, inserted."""
        client, given = self._client(), Wait("none", TEXT)
        return lambda _: client.insert(given, queue=BULK)

    def complete(self) -> Act:
        """A parked job is completed; a handler that waits in memory is resumed, to go on."""
        client = self._client()

        def complete(waiting: Any) -> None:
            how, callback = waiting
            act = client.resume_external if how == LIVE else client.complete_external
            act(callback, OUTCOME)

        return complete

    def stock(self, number: int) -> list[Any]:
        """Jobs that a worker has parked."""
        client = self._client()
        client.enqueue_many_copy([Wait(PARKED, TEXT)] * number, queue=PARKED)
        self.start()
        callbacks = [self.wait_for(f"waiting:{PARKED}") for _ in range(number)]
        self.stop()
        return [(PARKED, callback) for callback in callbacks]

    def begin(self, key: str) -> Any:
        """The handler waits for its callback."""
        self._client().insert(Wait(key, TEXT), queue=LIVE)
        return LIVE, self.wait_for(f"waiting:{key}")

    def work(self) -> None:
        """A worker of both queues."""
        asyncio.run(self._work())

    async def _work(self) -> None:
        client = awa.AsyncClient(self.url)

        async def wait(job: Any) -> Any:
            token = await job.register_callback(timeout_seconds=7 * 86400)
            self.say_waiting(job.args.key, token.id)
            if job.args.key == PARKED:
                return awa.WaitForCallback(token)
            await job.wait_for_callback(token)
            self.note(job.args.key)
            return None

        client.task(Wait, queue=LIVE)(wait)
        await client.start([(LIVE, 4), (PARKED, 16)])
        await asyncio.Event().wait()

    _shared: Any = None

    def _client(self) -> Any:
        if self._shared is None:
            self._shared = awa.Client(self.url)
        return self._shared
