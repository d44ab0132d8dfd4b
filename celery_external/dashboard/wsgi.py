"""The dashboard as a WSGI app, for any server or dispatcher."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, TypeAlias
from urllib.parse import quote

from celery_external.webhooks.exchange import RefusedError
from celery_external.webhooks.wsgi import read_body

from .exchange import Request, Response
from .site import Dashboard, check_access

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment

WsgiApp: TypeAlias = "Callable[[WSGIEnvironment, StartResponse], Iterable[bytes]]"


def wsgi_app(dashboard: Dashboard) -> WsgiApp:
    """The app. Its ``authorize`` is given the environ, and may return a :class:`Response`.

    Mount it where SCRIPT_NAME says where it is, as Werkzeug's DispatcherMiddleware does.
    """

    def answer(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
        path = _decode(environ.get("PATH_INFO", "")) or "/"
        root = quote(_decode(environ.get("SCRIPT_NAME", "")).rstrip("/"))
        if not environ.get("PATH_INFO"):
            # Our links begin where we are; a browser's location is to be the same.
            return send(start_response, Response(308, b"", {"Location": f"{root}/"}))
        said = check_access(dashboard.ask(path, environ), Response)
        if isinstance(said, Response):
            return send(start_response, said)
        try:
            request = _request(dashboard, environ, path, root)
        except RefusedError as exc:
            return send(start_response, exc.answer.as_json())
        return send(start_response, dashboard.respond(request, said))

    return answer


def send(start_response: StartResponse, response: Response) -> Iterable[bytes]:
    """Give a response to the server."""
    status = HTTPStatus(response.status)
    headers = {**response.headers, "Content-Length": str(len(response.body))}
    start_response(f"{status.value} {status.phrase}", list(headers.items()))
    return [response.body]


def _request(dashboard: Dashboard, environ: Any, path: str, root: str) -> Request:
    method = environ["REQUEST_METHOD"]
    headers = {
        name[5:].replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    headers["Content-Type"] = environ.get("CONTENT_TYPE", "")
    body = b""
    if method == "POST":
        body = read_body(environ, environ["wsgi.input"].read, dashboard.max_body + 1)
    host = environ.get("HTTP_HOST") or f"{environ['SERVER_NAME']}:{environ['SERVER_PORT']}"
    return Request(
        method, headers, body, path=path, query=environ.get("QUERY_STRING", ""), root=root,
        host=host,
    )  # fmt: skip


def _decode(text: str) -> str:
    """A path as it was meant: WSGI has bytes as Latin-1."""
    return text.encode("latin-1", "replace").decode("utf-8", "replace")
