"""Django: the views of the webhook receiver, and of the dashboard.

They are exempt from Django's own CSRF check: machines send no key, and our pages one of ours.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import quote

from django.core.exceptions import PermissionDenied
from django.db import connections, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.views.decorators.csrf import csrf_exempt

from celery_external import dashboard as dashboards
from celery_external.contrib.users import ask_user
from celery_external.dashboard import Access, Dashboard
from celery_external.dashboard.site import check_access
from celery_external.webhooks import Receiver, Request, Response
from celery_external.webhooks.exchange import RefusedError, answered
from celery_external.webhooks.wsgi import read_body

View = Callable[..., HttpResponseBase]


def job_view(receiver: Receiver, user: Callable[[HttpRequest], str | None]) -> View:
    """The view of a call with a token."""

    def job(request: HttpRequest, token: str) -> HttpResponse:
        def ask() -> str | None:
            try:
                return ask_user(user, request, refusal=PermissionDenied)
            except PermissionDenied as exc:
                # Django would log the URL.
                raise RefusedError(403, "refused") from exc

        return _answer(lambda: receiver.receive(token, _request(receiver, request, ask())))

    return _alone(job)


def provider_view(receiver: Receiver) -> View:
    """The view of a provider's call."""

    def provider(request: HttpRequest, name: str) -> HttpResponse:
        return _answer(lambda: receiver.receive_from(name, _request(receiver, request, None)))

    return _alone(provider)


def dashboard_view(dashboard: Dashboard) -> View:
    """The view of the dashboard's pages; ``path`` is what stands below it."""

    def page(request: HttpRequest, path: str = "") -> HttpResponseBase:
        said = check_access(dashboard.ask(f"/{path}", request), HttpResponseBase)
        if isinstance(said, HttpResponseBase):
            return said
        return _answer(lambda: _show(dashboard, request, path, said))

    return _alone(page)


def _show(dashboard: Dashboard, request: HttpRequest, path: str, access: Access | None) -> Response:
    given = dashboards.Request(
        request.method,
        request.headers,
        _body(request, dashboard.max_body + 1) if request.method == "POST" else b"",
        path=f"/{path}",
        query=request.META.get("QUERY_STRING", ""),
        root=quote(request.path.removesuffix(f"/{path}")),
        host=request.get_host(),
    )
    return dashboard.respond(given, access)


def logged_in_user(request: HttpRequest) -> str | None:
    """Who is logged in by Django's own authentication."""
    user = getattr(request, "user", None)
    return user.get_username() if user is not None and user.is_authenticated else None


def _alone(view: View) -> View:
    """Outside Django's CSRF check and ATOMIC_REQUESTS.

    A call is one transaction by itself, and its answer is about what was committed. On another
    alias the request's transaction may hold the lock of the very SQLite file that the jobs are in.
    """
    for alias in connections:
        view = transaction.non_atomic_requests(using=alias)(view)
    made: View = csrf_exempt(view)
    return made


def _answer(go: Callable[[], Response]) -> HttpResponse:
    response = answered(go)
    made = HttpResponse(response.body, status=response.status)
    for name, value in response.headers.items():
        made[name] = value
    # Django would log the URL of what was refused, or mail it to ADMINS: the token is in it.
    made._has_been_logged = True  # noqa: SLF001 - there is no public way
    return made


def _request(receiver: Receiver, request: HttpRequest, by: str | None) -> Request:
    body = _body(request, receiver.max_body + 1) if request.method == "POST" else b""
    return Request(request.method, request.headers, body, by)


def _body(request: HttpRequest, limit: int) -> bytes:
    environ = getattr(request, "environ", None)
    if environ is None:
        # ASGI: Django has received it all before it calls a view.
        body: bytes = request.read(limit)
        return body
    is_chunked = not environ.get("CONTENT_LENGTH")
    # Under WSGI Django takes a body in chunks for an empty one.
    read = environ["wsgi.input"].read if is_chunked else request.read
    return read_body(environ, read, limit)
