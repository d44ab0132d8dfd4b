"""FastAPI: the webhook receiver, and the dashboard, each as a router.

Needs ``pip install "celery-external[fastapi]"``; ``docs/fastapi.md`` has an app that uses it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, MutableMapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Depends, Request
from fastapi import Response as FastAPIResponse
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect
from starlette.responses import Response as StarletteResponse

from celery_external import dashboard as dashboards
from celery_external import webhooks
from celery_external.dashboard import Access, Dashboard
from celery_external.dashboard.site import check_access
from celery_external.webhooks import Receiver
from celery_external.webhooks.exchange import RefusedError

__all__ = ["dashboard_router", "router"]


def _nobody() -> None:
    """Nobody is logged in."""


def router(receiver: Receiver, *, user: Callable[..., Any] | None = None) -> APIRouter:
    """The URLs ``/jobs/{token}`` and ``/providers/{name}``, to be included.

    The receiver waits for the database in FastAPI's threads, not in its event loop.

    Arguments:
        receiver: Answers.
        user: A dependency that says who is logged in, for the history: a text, None for nobody.
            Default: nobody is. What it raises is the host's to answer, and to log without the
            URL, which has the token: FastAPI calls it first.
    """
    made = APIRouter()

    @made.api_route("/jobs/{token}", methods=["GET", "HEAD", "POST"], include_in_schema=False)
    async def job(
        token: str,
        request: Request,
        by: Any = Depends(_nobody if user is None else user),  # noqa: B008 - FastAPI's way
    ) -> FastAPIResponse:
        return await _answer(
            request,
            receiver.max_body,
            lambda body: receiver.receive(token, _request(request, body, by)),
        )

    @made.post("/providers/{name}", include_in_schema=False)
    async def provider(name: str, request: Request) -> FastAPIResponse:
        return await _answer(
            request,
            receiver.max_body,
            lambda body: receiver.receive_from(name, _request(request, body)),
        )

    return made


def _request(request: Request, body: bytes, by: str | None = None) -> webhooks.Request:
    return webhooks.Request(request.method, request.headers, body, by)


def dashboard_router(dashboard: Dashboard) -> APIRouter:
    """The dashboard's URLs, to be included with a prefix.

    Its ``authorize`` is given the request, and may be asynchronous; it may return a response, such
    as a redirect, or raise HTTPException. The database is waited for in FastAPI's threads.

    Arguments:
        dashboard: What is served.
    """
    made = APIRouter()

    @made.api_route("/{path:path}", methods=["GET", "HEAD", "POST"], include_in_schema=False)
    async def page(path: str, request: Request) -> StarletteResponse:
        said = await run_in_threadpool(dashboard.ask, f"/{path}", request)
        said = check_access(await said if inspect.isawaitable(said) else said, StarletteResponse)
        if isinstance(said, StarletteResponse):
            return said
        return await _show(dashboard, path, request, said)

    return made


async def _show(
    dashboard: Dashboard, path: str, request: Request, access: Access | None
) -> FastAPIResponse:
    def go(body: bytes) -> webhooks.Response:
        given = dashboards.Request(
            request.method,
            request.headers,
            body,
            path=f"/{path}",
            query=request.scope["query_string"].decode("latin-1"),
            root=_root_of(request.scope, path),
            host=request.headers.get("host", ""),
        )
        return dashboard.respond(given, access)

    return await _answer(request, dashboard.max_body, go)


def _root_of(scope: MutableMapping[str, Any], path: str) -> str:
    """Where the dashboard is for the browser, also behind a proxy that strips a prefix."""
    above, whole = scope.get("root_path", "").rstrip("/"), scope["path"]
    if above and not (whole == above or whole.startswith(f"{above}/")):
        whole = f"{above}{whole}"
    return quote(whole.removesuffix(f"/{path}"))


async def _answer(
    request: Request, max_body: int, go: Callable[[bytes], webhooks.Response]
) -> FastAPIResponse:
    """What ``go`` makes of the body, in a thread of FastAPI's."""
    try:
        body = await _read_body(request, max_body + 1) if request.method == "POST" else b""
    except RefusedError as exc:
        response = exc.answer.as_json()
    else:
        response = await run_in_threadpool(go, body)
    return FastAPIResponse(response.body, response.status, dict(response.headers))


async def _read_body(request: Request, limit: int) -> bytes:
    """The body as it was received, cut off after so many bytes.

    Raises:
        RefusedError: 400: it broke off.
    """
    body = bytearray()
    try:
        async for part in request.stream():
            body += part[: limit - len(body)]
            if len(body) == limit:
                break
    except ClientDisconnect as exc:
        raise RefusedError(400, "incomplete") from exc
    return bytes(body)
