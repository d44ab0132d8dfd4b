"""Servers that lose nothing when they are killed, and can be."""

from __future__ import annotations

import os
import signal
from typing import Protocol

from redis import Redis

from tests.servers import STOP_TIMEOUT, RabbitMQ, Valkey, require
from tests.waiting import wait_for


class Server(Protocol):
    """What chaos does to a server."""

    def start(self) -> None:
        """Start it with the data it had, and wait until it answers."""

    def stop(self) -> None:
        """Stop it in order."""

    def crash(self) -> None:
        """Stop it as if it had crashed."""

    def close(self) -> None:
        """Stop it if it runs, and remove its files."""


class DurableValkey(Valkey):
    """A Valkey server that has on disk what it has answered."""

    def __init__(self) -> None:
        super().__init__(appendonly="yes", appendfsync="always")

    def start(self) -> None:
        """Start the server and wait until it has read its file."""
        super().start()
        with Redis.from_url(self.base_url) as client:
            wait_for(lambda: not client.info("persistence")["loading"], what="Valkey to have read")

    def crash(self) -> None:
        """Kill the server."""
        self._server.terminate()


class DurableRabbitMQ(RabbitMQ):
    """A RabbitMQ node that can be killed; what it has confirmed is on disk."""

    def crash(self) -> None:
        """Kill the node."""
        node = require(self._node)
        os.killpg(node.pid, signal.SIGKILL)
        node.wait(STOP_TIMEOUT)

    def count_messages(self, url: str) -> dict[str, int]:
        """The queues of a virtual host, with the messages in each, unacked ones included."""
        listed = self._control("list_queues", "-p", url.rpartition("/")[2], "name", "messages")
        lines = (line.split("\t") for line in listed.splitlines())
        return {name: int(number) for name, number in lines if number.isdigit()}
