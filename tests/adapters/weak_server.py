"""Serves a weak receiver over real HTTP, without a framework that makes up for what it lacks."""

from __future__ import annotations

import threading
from contextlib import AbstractContextManager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from celery_external import ExternalError
from tests.adapters.site import Shop
from tests.adapters.weak import MAX_BODY, Answer, Call, Weak
from tests.serving import serving


class Server(ThreadingHTTPServer):
    """One receiver, for one shop."""

    def __init__(self, weak: Weak, shop: Shop) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.weak, self.shop = weak, shop
        self.together = threading.Barrier(2)

    def answer(self, method: str, path: str, headers: dict[str, str], body: bytes) -> Answer:
        """What the receiver says; whoever asks for a cookie gets one."""
        if path.startswith("/login/"):
            return Answer(headers={"Set-Cookie": f"user={path.rpartition('/')[2]}; Path=/"})
        try:
            return self.weak(Call(self.shop, method, path, headers, body, self.together))
        except ExternalError:
            return Answer(400)

    def is_too_much(self, body: bytearray) -> bool:
        """Whether no more of a body is read."""
        return len(body) > MAX_BODY and self.weak.__name__ != "lacks_size"


class Handler(BaseHTTPRequestHandler):
    """One request after another."""

    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        """Answer."""
        self._answer(self.server.answer(self.command, self.path, dict(self.headers), b""))

    def do_POST(self) -> None:
        """Read, and answer."""
        body = self._read()
        self._answer(self.server.answer(self.command, self.path, dict(self.headers), body))

    def log_message(self, *_args: Any) -> None:
        """A test's output is not its place."""

    def _read(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length", 0)))
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
            if self.server.is_too_much(body):
                self.close_connection = True
                return bytes(body)
        self.rfile.readline()
        return bytes(body)

    def _answer(self, answer: Answer) -> None:
        body = answer.body.encode()
        self.send_response(answer.status)
        self.send_header("Content-Length", str(len(body)))
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)


def served(weak: Weak, shop: Shop) -> AbstractContextManager[str]:
    """Its address, while it is served."""
    return serving(Server(weak, shop))
