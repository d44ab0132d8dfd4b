"""A gate before the broker: it holds what a process sends, and lets it perish with the process."""

from __future__ import annotations

import re
import socket
import threading
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

from tests.servers import HOST
from tests.waiting import wait_for

CHUNK = 65536


class Gate:
    """Forwards TCP connections to the server of a URL, until one sends what is to be held.

    From the ``nth`` time on that a connection sends ``marker``, nothing more of it is forwarded:
    the server has what came before, also of many commands that were sent together, but of the
    command that the marker is in only a part that it cannot execute, and gets no more when the
    sender is gone.
    """

    def __init__(self, url: str, marker: bytes, nth: int = 1) -> None:
        parts = urlsplit(url)
        assert parts.port is not None
        self._target = (HOST, parts.port)
        self._marker = re.compile(marker)
        self._nth = nth
        self._held: set[bytes] = set()
        self._listener = socket.create_server((HOST, 0))
        self._threads: list[threading.Thread] = []
        own = self._listener.getsockname()[1]
        #: Where a process connects in place of the server.
        self.url = url.replace(f":{parts.port}", f":{own}", 1)

    def wait(self, what: bytes = b"") -> None:
        """Return when the gate holds something, with this in its marker."""
        wait_for(
            lambda: any(what in held for held in self._held), what=f"the gate to hold {what!r}"
        )

    def __enter__(self) -> Self:
        self._spawn(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Close; the processes that use the gate must be gone."""
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(timeout=10)

    def _spawn(self, target: object, *args: object) -> None:
        thread = threading.Thread(target=target, args=args, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            self._spawn(self._serve, client)

    def _serve(self, client: socket.socket) -> None:
        with client, socket.create_connection(self._target) as server:
            back = threading.Thread(target=self._give_back, args=(server, client), daemon=True)
            back.start()
            self._forward(client, server)
            # The client is gone: what the gate holds of it is gone as well.
            shut(server)
            back.join(timeout=10)

    def _forward(self, client: socket.socket, server: socket.socket) -> None:
        sent, forwarded = b"", 0
        while data := receive(client):
            sent += data
            found = list(self._marker.finditer(sent))
            is_held = len(found) >= self._nth
            until = found[self._nth - 1].start() if is_held else len(sent)
            server.sendall(sent[forwarded:until])
            forwarded = max(forwarded, until)
            if is_held:
                self._held.update(match[0] for match in found)

    @staticmethod
    def _give_back(server: socket.socket, client: socket.socket) -> None:
        while data := receive(server):
            try:
                client.sendall(data)
            except OSError:
                break
        shut(client)


def receive(connection: socket.socket) -> bytes:
    """What has come; nothing when the other end is gone, however it went."""
    try:
        return connection.recv(CHUNK)
    except OSError:
        return b""


def shut(connection: socket.socket) -> None:
    """Tell both ends that it is over."""
    try:
        connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        return
