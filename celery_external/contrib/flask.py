"""Flask: the webhook receiver, and the dashboard, each as a blueprint.

Needs ``pip install "celery-external[flask]"``; ``docs/flask.md`` has an app that uses it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from flask import Blueprint, Flask, current_app, request
from flask import Response as FlaskResponse
from werkzeug.exceptions import ClientDisconnected, HTTPException, RequestEntityTooLarge
from werkzeug.wrappers import Response as BaseResponse

from celery_external import dashboard as dashboards
from celery_external.dashboard import Access, Dashboard
from celery_external.dashboard.site import check_access
from celery_external.webhooks import Receiver, Request, Response
from celery_external.webhooks.exchange import RefusedError, answered
from celery_external.webhooks.wsgi import read_body

from .users import ask_user

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["CeleryExternal", "ExternalDashboard"]

#: The keys of Flask's ``app.extensions``.
EXTENSION: Final = "celery_external"
DASHBOARD: Final = "celery_external_dashboard"


class CeleryExternal:
    """Has a Flask app answer at ``/external/jobs/<token>`` and ``/external/providers/<name>``.

    Nothing of an app is kept here: one extension serves any number of them.

    Arguments:
        app: The Flask app. Default: :meth:`init_app` is called later.
        receiver: Answers. Default: one for the Celery app in ``app.extensions["celery"]``, where
            Flask's documentation puts it, or else for the current one.
        user: Called without arguments while a request is served, says who is logged in, for the
            history; None: nobody. Default: Flask-Login's ``current_user``, where it is used.
            If it raises, the answer is 503.
        url_prefix: Where the URLs begin; ``external_base_url`` ends with it.
    """

    def __init__(
        self,
        app: Flask | None = None,
        receiver: Receiver | None = None,
        *,
        user: Callable[[], str | None] | None = None,
        url_prefix: str = "/external",
    ) -> None:
        self._receiver = receiver
        self._user = _flask_login_user if user is None else user
        self._url_prefix = url_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, receiver: Receiver | None = None) -> None:
        """Add the URLs to an app.

        Arguments:
            app: The Flask app.
            receiver: Goes before the extension's.

        Raises:
            SettingsError: An ``external_*`` setting of the Celery app cannot be used.
        """
        found = receiver or self._receiver or Receiver(app.extensions.get("celery"))
        app.extensions[EXTENSION] = _State(found, self._user)
        app.register_blueprint(_blueprint, url_prefix=self._url_prefix)


@dataclass(frozen=True, slots=True)
class _State:
    """What a Flask app has in its ``extensions``."""

    receiver: Receiver
    user: Callable[[], str | None]


_blueprint = Blueprint("celery_external", __name__)


def _exempt_from_csrf(blueprint: Blueprint) -> None:
    """Our pages carry a key of their own, and machines none: Flask-WTF's is not asked for.

    These functions run before Flask-WTF looks, whichever extension was initialised first.
    """

    @blueprint.url_value_preprocessor
    def exempt(_endpoint: str | None, _values: Mapping[str, Any] | None) -> None:
        csrf = current_app.extensions.get("csrf")
        if csrf is not None:
            csrf.exempt(blueprint)


_exempt_from_csrf(_blueprint)


@_blueprint.route("/jobs/<token>", methods=["GET", "HEAD", "POST"], provide_automatic_options=False)
def job(token: str) -> FlaskResponse:
    """A call with a token."""
    state = _state()
    # `abort(403)` is Flask's to answer, which does not log it.
    by = functools.partial(ask_user, state.user, refusal=HTTPException)
    return _answer(lambda: state.receiver.receive(token, _request(state, by=by())))


@_blueprint.route("/providers/<name>", methods=["POST"], provide_automatic_options=False)
def provider(name: str) -> FlaskResponse:
    """A provider's call."""
    state = _state()
    return _answer(lambda: state.receiver.receive_from(name, _request(state)))


def _state() -> _State:
    state: _State = current_app.extensions[EXTENSION]
    return state


def _answer(go: Callable[[], Response]) -> FlaskResponse:
    response = answered(go)
    return FlaskResponse(response.body, response.status, dict(response.headers))


def _request(state: _State, *, by: str | None = None) -> Request:
    return Request(request.method, dict(request.headers), _body(state.receiver.max_body), by)


def _body(max_body: int) -> bytes:
    limit = max_body + 1
    if request.method != "POST":
        return b""
    # Flask's get_data also has what the host's own before_request may have read.
    known = request.max_content_length
    request.max_content_length = limit if known is None else min(limit, known)
    try:
        return read_body(request.environ, BytesIO(request.get_data()).read, limit)
    except RequestEntityTooLarge:
        # Nobody looks at it, only at how much it is.
        return bytes(limit)
    except ClientDisconnected as exc:
        raise RefusedError(400, "incomplete") from exc


def _flask_login_user() -> str | None:
    if not hasattr(current_app, "login_manager"):
        return None
    # Only who uses it has it.
    from flask_login import current_user  # noqa: PLC0415

    return current_user.get_id() if current_user.is_authenticated else None


# --- The dashboard --------------------------------------------------------------------------------


class ExternalDashboard:
    """Has a Flask app serve a dashboard at ``/dashboard/``.

    Nothing of an app is kept here: one extension serves any number of them.

    Arguments:
        app: The Flask app. Default: :meth:`init_app` is called later.
        dashboard: What is served. Its ``authorize`` is called without arguments while a request
            is served; it may return a response of Flask's, such as ``redirect(...)``, or
            ``abort``. Default: a closed one for the Celery app in ``app.extensions["celery"]``.
        url_prefix: Where it is.
    """

    def __init__(
        self,
        app: Flask | None = None,
        dashboard: Dashboard | None = None,
        *,
        url_prefix: str = "/dashboard",
    ) -> None:
        self._dashboard = dashboard
        self._url_prefix = url_prefix
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask, dashboard: Dashboard | None = None) -> None:
        """Add the URLs to an app.

        Arguments:
            app: The Flask app.
            dashboard: Goes before the extension's.

        Raises:
            SettingsError: An ``external_*`` setting of the Celery app cannot be used.
        """
        found = dashboard or self._dashboard or Dashboard(app.extensions.get("celery"))
        app.extensions[DASHBOARD] = found
        app.register_blueprint(_pages, url_prefix=self._url_prefix)


_pages = Blueprint("celery_external_dashboard", __name__)
_exempt_from_csrf(_pages)


@_pages.route("/", defaults={"path": ""}, methods=["GET", "HEAD", "POST"])
@_pages.route("/<path:path>", methods=["GET", "HEAD", "POST"])
def page(path: str) -> BaseResponse:
    """A page of the dashboard."""
    dashboard: Dashboard = current_app.extensions[DASHBOARD]
    said = check_access(dashboard.ask(f"/{path}"), BaseResponse)
    return said if isinstance(said, BaseResponse) else _answer(lambda: _show(dashboard, path, said))


def _show(dashboard: Dashboard, path: str, access: Access | None) -> Response:
    given = dashboards.Request(
        request.method,
        dict(request.headers),
        _body(dashboard.max_body),
        path=f"/{path}",
        query=request.query_string.decode("latin-1"),
        root=quote((request.root_path + request.path).removesuffix(f"/{path}")),
        host=request.host,
    )
    return dashboard.respond(given, access)
