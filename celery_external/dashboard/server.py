"""A server of the dashboard for whoever starts it, with a secret in its URL."""

from __future__ import annotations

import hmac
import ipaddress
import logging
import secrets
import socket
import threading
import webbrowser
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from html import escape
from pathlib import Path
from socketserver import ThreadingMixIn
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer

from celery_external.installation import installation_of
from celery_external.login import login_name

from .access import Access
from .exchange import Response
from .rendering import show
from .site import Dashboard
from .wsgi import WsgiApp, send, wsgi_app

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIEnvironment
    from celery import Celery

logger = logging.getLogger("celery_external")

DEFAULT_HOST: Final = "127.0.0.1"
DEFAULT_PORT: Final = 5556
#: Below it is the secret that is exchanged for a cookie.
_ENTRANCE: Final = "/open/"
_LOOPBACK: Final = ("localhost", "127.0.0.1", "[::1]")
#: Seconds until somebody who sends nothing is left.
_PATIENCE: Final = 60


class DashboardServer(ThreadingMixIn, WSGIServer):
    """Serves the dashboard to whoever knows the secret of its URL.

    The URL is good for one browser: what opens it gets a cookie, and the secret is spent.

    Arguments:
        app: The Celery app.
        host: The address to listen on.
        port: The port; 0: any that is free.
        read_only: Nobody may decide.
        by: Who decides, for the history. Default: the login name.

    Attributes:
        url: What to open.

    Raises:
        OSError: The port is taken.
    """

    daemon_threads = True

    def __init__(
        self,
        app: Celery | None = None,
        host: str = DEFAULT_HOST,
        port: int = DEFAULT_PORT,
        *,
        read_only: bool = False,
        by: str | None = None,
    ) -> None:
        self._access = Access(by or login_name() or "", may_decide=not read_only)
        # Its forms are for nobody else: a key of this process does as well.
        keys = installation_of(app).settings.secret_keys or (secrets.token_urlsafe(),)
        dashboard = Dashboard(
            app, authorize=lambda _: self._access, read_only=read_only, secret_keys=keys
        )
        self._pages = wsgi_app(dashboard)
        self._entrance: str | None = secrets.token_urlsafe()
        self._pass = secrets.token_urlsafe()
        self._lock = threading.Lock()
        if ":" in host:
            self.address_family = socket.AF_INET6
        super().__init__((host, port), _Handler)
        self.set_app(self._guard())
        name = f"[{host}]" if ":" in host else host
        self._names = {*_LOOPBACK, name.lower(), socket.gethostname().lower()}
        # Cookies are a host's, and not a port's.
        self._cookie = f"celery_external_{self.server_port}"
        shown = "127.0.0.1" if host in {"0.0.0.0", "::", ""} else name  # noqa: S104 - looked for
        self.url = f"http://{shown}:{self.server_port}{_ENTRANCE}{self._entrance}"

    def server_bind(self) -> None:
        """Listen, without WSGIServer's question to the DNS."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        name, self.server_port = self.server_address[:2]
        self.server_name = str(name)
        self.setup_environ()

    def _guard(self) -> WsgiApp:
        def guard(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
            if not self._is_ours(environ.get("HTTP_HOST", "")):
                # Another name leads here: a page of somebody else's may have it do so.
                refused = _tell("Not here", "This server does not answer to that name.", 421)
                return send(start_response, refused)
            path = environ.get("PATH_INFO", "")
            if path.startswith(_ENTRANCE) and environ["REQUEST_METHOD"] == "GET":
                return send(start_response, self._enter(path.removeprefix(_ENTRANCE)))
            if not self._has_pass(environ.get("HTTP_COOKIE", "")):
                text = "Open the URL that the command has printed. Each is good for one browser."
                return send(start_response, _tell("Not for you", text, 403))
            return self._pages(environ, start_response)

        return guard

    def _is_ours(self, host: str) -> bool:
        name, _, port = host.lower().rpartition(":")
        if not port.isdigit():
            name, port = host.lower(), "80"
        if port != str(self.server_port):
            return False
        return name in self._names or _is_address(name.strip("[]"))

    def _enter(self, given: str) -> Response:
        """Exchange the secret for a cookie, once."""
        with self._lock:
            expected, is_good = self._entrance or "", False
            if self._entrance is not None and _is_same(given, expected):
                self._entrance, is_good = None, True
        if not is_good:
            text = "This URL has been used, or is none of ours. Start the command again."
            return _tell("Not for you", text, 403)
        cookie = f"{self._cookie}={self._pass}; Path=/; HttpOnly; SameSite=Strict"
        # By a page and not by a redirect: a browser that came from elsewhere, such as a web
        # terminal, would not send a strict cookie to where it is redirected.
        headers = {"Set-Cookie": cookie, "Refresh": "0; url=/"}
        page = show(None, "entered.html", title="The dashboard is open")
        return Response(200, page.body, {**page.headers, **headers})

    def _has_pass(self, given: str) -> bool:
        # Not by SimpleCookie: it gives up at another app's cookie, which may be anything.
        pairs = (part.strip().partition("=") for part in given.split(";"))
        return any(name == self._cookie and _is_same(value, self._pass) for name, _, value in pairs)


class _Handler(WSGIRequestHandler):
    """Logs no URL, which may have the secret in it, and waits for nobody for ever."""

    timeout = _PATIENCE

    def log_request(self, code: int | str = "-", size: int | str = "-") -> None:  # noqa: ARG002
        """Say that somebody was answered."""
        logger.debug("Dashboard: %s %s", self.command, code)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - as it is called
        """Say what else there is to say, of which nothing is ours."""
        logger.debug("Dashboard: %s", quote(format % args, safe=" "))


def serve(
    app: Celery | None = None,
    host: str = DEFAULT_HOST,
    port: int = DEFAULT_PORT,
    *,
    read_only: bool = False,
    by: str | None = None,
    open_browser: bool = False,
) -> None:
    """Serve the dashboard until it is interrupted; its URL is printed.

    Arguments:
        app: The Celery app. Default: the current one.
        host: The address to listen on; only this machine reaches the default one.
        port: The port; 0: any that is free.
        read_only: Nobody may decide.
        by: Who decides, for the history. Default: the login name.
        open_browser: Have the browser of this machine open it.

    Raises:
        OSError: The port is taken.
        OptionError: ``by`` is no name, or jinja2 is not installed.
        SettingsError: An ``external_*`` setting cannot be used.
    """
    with DashboardServer(app, host, port, read_only=read_only, by=by) as server:
        print(f"The dashboard is at {server.url}", flush=True)  # noqa: T201 - for who started it
        print("The URL is good for one browser. Ctrl-C ends it.", flush=True)  # noqa: T201
        with ExitStack() as until_the_end:
            if open_browser:
                url = until_the_end.enter_context(_lead_to(server.url))
                threading.Thread(target=webbrowser.open, args=(url,), daemon=True).start()
            try:
                server.serve_forever()
            except KeyboardInterrupt:
                print(flush=True)  # noqa: T201 - behind the ^C


@contextmanager
def _lead_to(url: str) -> Iterator[str]:
    """A file's URL that leads to this one: everybody on the machine sees a browser's arguments."""
    with TemporaryDirectory(prefix="celery-external-") as directory:
        page = Path(directory, "open.html")
        page.touch(mode=0o600)
        shown = escape(url)
        page.write_text(
            "<!doctype html><html lang=en><meta charset=utf-8><title>The dashboard</title>"
            f'<meta http-equiv=refresh content="0; url={shown}"><a href="{shown}">Go on</a>'
        )
        yield page.as_uri()


def _tell(title: str, text: str, status: int) -> Response:
    return show(None, "bare.html", status, title=title, text=text)


def _is_same(given: str, expected: str) -> bool:
    return hmac.compare_digest(given.encode(), expected.encode())


def _is_address(name: str) -> bool:
    """Whether it is an IP address, to which nobody can have another name lead."""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
