"""As much HTTP as the demo needs, from the standard library; use your own framework instead."""

from __future__ import annotations

import json
import urllib.request
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

MAX_BODY = 1_000_000


@dataclass(frozen=True)
class Reply:
    """What a `Handler` answers."""

    body: str
    status: int = HTTPStatus.OK
    content_type: str = "text/html; charset=utf-8"
    location: str | None = None


def json_reply(value: object, status: int = HTTPStatus.OK) -> Reply:
    """Answer with JSON."""
    return Reply(json.dumps(value), status, "application/json")


def problem(status: int, message: str) -> Reply:
    """Answer that it did not work, and why."""
    return json_reply({"error": message}, status)


class Handler(BaseHTTPRequestHandler):
    """One request; a subclass answers in `get` and `post`, given the path's parts."""

    def get(self, path: list[str]) -> Reply:
        """Answer without changing anything."""
        return problem(HTTPStatus.NOT_FOUND, f"nothing at {'/'.join(path)}")

    def post(self, path: list[str], fields: dict[str, Any]) -> Reply:
        """Answer a JSON object or an HTML form."""
        return problem(HTTPStatus.NOT_FOUND, f"nothing at {'/'.join(path)}, got {len(fields)}")

    def do_GET(self) -> None:
        """Called by the server."""
        self._send(self.get(self._split_path()))

    def do_POST(self) -> None:
        """Called by the server."""
        try:
            fields = self._read_fields()
        except ValueError as error:
            self._send(problem(HTTPStatus.BAD_REQUEST, str(error)))
        else:
            self._send(self.post(self._split_path(), fields))

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:
        """Called by the server; the log is about what changes something."""
        if self.command != "GET":
            super().log_request(code, size)

    @property
    def is_form(self) -> bool:
        """Whether a browser's form sent this."""
        content_type: str = self.headers.get("Content-Type", "")
        return content_type.startswith("application/x-www-form-urlencoded")

    def _split_path(self) -> list[str]:
        return [part for part in self.path.partition("?")[0].split("/") if part]

    def _read_fields(self) -> dict[str, Any]:
        length = int(self.headers.get("Content-Length", 0))
        if not 0 <= length <= MAX_BODY:
            message = f"at most {MAX_BODY} bytes, please"
            raise ValueError(message)
        body = self.rfile.read(length)
        if self.is_form:
            return dict(parse_qsl(body.decode()))
        fields = json.loads(body)
        if not isinstance(fields, dict):
            message = "a JSON object, please"
            raise ValueError(message)  # noqa: TRY004 - the caller's input, not its type
        return fields

    def _send(self, reply: Reply) -> None:
        body = reply.body.encode()
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.content_type)
        self.send_header("Content-Length", str(len(body)))
        if reply.location:
            self.send_header("Location", reply.location)
        self.end_headers()
        self.wfile.write(body)


def serve(handler: type[Handler]) -> None:
    """Answer on a free port of localhost for ever, a thread for each request."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    print(f"listening at http://127.0.0.1:{server.server_port}", flush=True)
    server.serve_forever()


def get(url: str) -> Any:
    """Fetch JSON."""
    with urllib.request.urlopen(url, timeout=10) as response:
        return json.load(response)


def post(url: str, value: object) -> Any:
    """Send JSON and return the answer's; raise ``urllib.error.HTTPError`` for a refusal."""
    request = urllib.request.Request(
        url, json.dumps(value).encode(), {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=10) as response:
        return json.load(response)
