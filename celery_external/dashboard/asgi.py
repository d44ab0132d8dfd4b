"""The dashboard as an ASGI app, for any server or mount."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, TypeAlias
from urllib.parse import quote

from celery_external.webhooks.exchange import RefusedError

from .exchange import Request, Response
from .site import Dashboard, check_access

Scope: TypeAlias = "MutableMapping[str, Any]"
Receive: TypeAlias = "Callable[[], Awaitable[MutableMapping[str, Any]]]"
Send: TypeAlias = "Callable[[MutableMapping[str, Any]], Awaitable[None]]"
AsgiApp: TypeAlias = "Callable[[Scope, Receive, Send], Awaitable[None]]"


def asgi_app(dashboard: Dashboard) -> AsgiApp:
    """The app. Its ``authorize`` is given the scope, and may be asynchronous.

    It may return a :class:`Response`. The database is waited for in threads, not in the event
    loop. Mount it where the scope's ``root_path`` says where it is, as Starlette does.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            await _live(receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        root, path = _place(scope)
        if not path:
            await _send(send, Response(308, b"", {"Location": f"{root}/"}))
            return
        said = await asyncio.to_thread(dashboard.ask, path, scope)
        if inspect.isawaitable(said):
            said = await said
        access = check_access(said, Response)
        if isinstance(access, Response):
            await _send(send, access)
            return
        try:
            request = await _request(dashboard, scope, receive, path, root)
        except RefusedError as exc:
            await _send(send, exc.answer.as_json())
            return
        await _send(send, await asyncio.to_thread(dashboard.respond, request, access))

    return answer


def _place(scope: Scope) -> tuple[str, str]:
    """Where the dashboard is, and the path below that."""
    root, path = scope.get("root_path", "").rstrip("/"), scope["path"]
    if root and (path == root or path.startswith(f"{root}/")):
        path = path[len(root) :]
    return quote(root), path


async def _live(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return


async def _request(
    dashboard: Dashboard, scope: Scope, receive: Receive, path: str, root: str
) -> Request:
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    body = b""
    if scope["method"] == "POST":
        body = await _read_body(receive, dashboard.max_body + 1)
    return Request(
        scope["method"], headers, body, path=path, root=root,
        query=scope.get("query_string", b"").decode("latin-1"), host=headers.get("host", ""),
    )  # fmt: skip


async def _read_body(receive: Receive, limit: int) -> bytes:
    body = bytearray()
    while len(body) < limit:
        message = await receive()
        if message["type"] != "http.request":
            raise RefusedError(400, "incomplete")
        body += message.get("body", b"")[: limit - len(body)]
        if not message.get("more_body"):
            break
    return bytes(body)


async def _send(send: Send, response: Response) -> None:
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    await send(
        {
            "type": "http.response.start",
            "status": response.status,
            "headers": [
                (name.lower().encode("latin-1"), value.encode("latin-1"))
                for name, value in headers.items()
            ],
        }
    )
    await send({"type": "http.response.body", "body": response.body})
