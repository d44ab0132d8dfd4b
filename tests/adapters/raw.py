"""HTTP by hand: what no well-behaved client sends."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from http.client import HTTPResponse
from select import select
from urllib.parse import urlsplit

TIMEOUT = 20.0


@contextmanager
def connected(base: str) -> Iterator[socket.socket]:
    """A connection to a site."""
    parts = urlsplit(base)
    with closing(socket.create_connection((parts.hostname, parts.port), TIMEOUT)) as connection:
        yield connection


def head(method: str, path: str, **headers: object) -> bytes:
    """The beginning of a request; an underscore in a header's name is a hyphen."""
    given = {"Host": "localhost", "Connection": "close", **headers}
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in given.items()]
    return "\r\n".join([f"{method} {path} HTTP/1.1", *lines, "", ""]).encode()


def request(base: str, *parts: bytes, is_over: bool = True) -> tuple[int, bytes]:
    """Send it as it is; the status and body of the answer. Not over: the caller hangs up."""
    with connected(base) as connection:
        for part in parts:
            connection.sendall(part)
        if not is_over:
            connection.shutdown(socket.SHUT_WR)
        return read(connection)


def read(connection: socket.socket) -> tuple[int, bytes]:
    """The answer; 0 where there is none."""
    response = HTTPResponse(connection)
    try:
        response.begin()
        return response.status, response.read()
    except (ConnectionError, EOFError):
        return 0, b""
    finally:
        response.close()


def chunk(data: bytes) -> bytes:
    """A chunk of a body that does not say how long it is."""
    return b"%x\r\n%s\r\n" % (len(data), data)


def send_until_answered(base: str, start: bytes, parts: Iterable[bytes]) -> tuple[int, int]:
    """Send parts until the site answers or hangs up; the status, and how many bytes it took."""
    sent = 0
    with connected(base) as connection:
        connection.sendall(start)
        with suppress(ConnectionError):
            for part in parts:
                if select([connection], [], [], 0)[0]:
                    break
                connection.sendall(part)
                sent += len(part)
        return read(connection)[0], sent
