"""The server that somebody starts for themselves: a secret once, a cookie from then on."""

from __future__ import annotations

import getpass
import re
import threading
import webbrowser
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from queue import Queue
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest

from celery_external import OptionError
from celery_external.dashboard.server import DashboardServer, serve
from tests.dashboard.sheet import Sheet
from tests.dashboard.visitors import Visitors, job_url
from tests.processes import Process
from tests.waiting import wait_for

Start = Callable[..., DashboardServer]


@pytest.fixture
def start(make_visitors: Callable[..., Visitors]) -> Iterator[Start]:
    """Starts servers for the rows of an app that has no secret keys."""
    visitors = make_visitors(keys=None)
    with ExitStack() as running:

        def make(**options: Any) -> DashboardServer:
            server = DashboardServer(visitors.rows.app, port=0, **options)
            running.enter_context(server)
            thread = threading.Thread(target=server.serve_forever, args=(0.02,))
            thread.start()
            running.callback(thread.join)
            running.callback(server.shutdown)
            server.visitors = visitors  # type: ignore[attr-defined]
            return server

        yield make


@contextmanager
def browser(server: DashboardServer, *, is_in: bool = True) -> Iterator[httpx.Client]:
    """Somebody at the server's address, who has opened its URL."""
    with httpx.Client(base_url=f"http://127.0.0.1:{server.server_port}", timeout=30) as client:
        if is_in:
            assert client.get(server.url).status_code == 200
        yield client


def test_the_url_opens_it_once(start: Start) -> None:
    server = start()
    with browser(server, is_in=False) as other, browser(server, is_in=False) as first:
        for path in ("/", "/jobs", "/open/", "/open/x", "/static/x"):
            assert other.get(path).status_code == 403
        # Who only looks whether it is there has not opened it.
        assert first.head(server.url).status_code == 403
        response = first.get(server.url)
        assert response.status_code == 200
        assert response.headers["Refresh"] == "0; url=/"
        cookie = response.headers["Set-Cookie"]
        assert cookie.startswith(f"celery_external_{server.server_port}=")
        assert cookie.endswith("; Path=/; HttpOnly; SameSite=Strict")
        assert urlsplit(server.url).path.rpartition("/")[2] not in cookie
        assert "Overview" in Sheet(first.get("/").content).text
        assert other.get(server.url).status_code == 403
        assert other.get("/").status_code == 403


@pytest.mark.parametrize("cookie", ["x", "", "é", 'x; y="', None])
def test_a_cookie_of_nobodys(start: Start, cookie: str | None) -> None:
    server = start()
    value = f"celery_external_{server.server_port}={cookie}" if cookie is not None else ";;="
    with browser(server, is_in=False) as client:
        assert client.get("/", headers={b"Cookie": value.encode()}).status_code == 403


@pytest.mark.parametrize(
    "other", ['prefs={"a": "b, c"}', "odd[1]=é", "x", "=", 'quote="', "celery_external_1=y"]
)
def test_other_apps_cookies_do_not_hide_ours(start: Start, other: str) -> None:
    server = start()
    with browser(server, is_in=False) as client:
        ours = client.get(server.url).headers["Set-Cookie"].partition(";")[0]
        for given in (f"{other}; {ours}", f"{ours}; {other}", f"{ours};{other}"):
            assert client.get("/jobs", headers={b"Cookie": given.encode()}).status_code == 200


@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:{port}", 200),
        ("localhost:{port}", 200),
        ("LOCALHOST:{port}", 200),
        ("[::1]:{port}", 200),
        ("evil.example:{port}", 421),
        ("localhost.evil.example:{port}", 421),
        ("127.0.0.1.evil.example:{port}", 421),
        ("localhost:1", 421),
        ("localhost", 421),
        ("", 421),
    ],
)
def test_another_name_that_leads_here_is_refused(start: Start, host: str, status: int) -> None:
    server = start()
    with browser(server) as client:
        given = {"Host": host.format(port=server.server_port)}
        assert client.get("/", headers=given).status_code == status


def test_whoever_started_it_decides(start: Start) -> None:
    server = start(by="Ada L.")
    rows = server.visitors.rows  # type: ignore[attr-defined]
    job_id = rows.parked()
    with browser(server) as client:
        form = Sheet(client.get(job_url(job_id)).content).form("Cancel")
        content = urlencode([*form.fields, ("send", "yes")])
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        assert client.post(form.action, content=content, headers=headers).status_code == 303
    assert rows.history(job_id)[0]["by"] == "Ada L."


def test_only_to_look(start: Start) -> None:
    server = start(read_only=True)
    job_id = server.visitors.rows.parked()  # type: ignore[attr-defined]
    with browser(server) as client:
        sheet = Sheet(client.get(job_url(job_id)).content)
    assert {form.method for form in sheet.forms} == {"get"}
    assert getpass.getuser() in sheet.text


def test_nobody_is_no_name(visitors: Visitors) -> None:
    with pytest.raises(OptionError, match="user: "):
        DashboardServer(visitors.rows.app, port=0, by="\n")


def test_the_browser_is_not_handed_the_secret(
    visitors: Visitors, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    opened: Queue[str] = Queue()
    pages: list[Path] = []

    def look(_server: DashboardServer) -> None:
        url = opened.get(timeout=10)
        # It is among the arguments of a process.
        assert url.startswith("file:///")
        pages.append(Path(urlsplit(url).path))
        secret = capsys.readouterr().out.split()[4]
        assert secret not in url
        assert f"url={secret}" in pages[0].read_text()
        assert pages[0].stat().st_mode & 0o777 == 0o600
        assert pages[0].parent.stat().st_mode & 0o777 == 0o700
        raise KeyboardInterrupt

    monkeypatch.setattr(webbrowser, "open", opened.put)
    monkeypatch.setattr(DashboardServer, "serve_forever", look)
    serve(visitors.rows.app, port=0, open_browser=True)
    assert not pages[0].parent.exists()


def test_a_process_that_serves(sqlite_url: str) -> None:
    code = (
        "from celery import Celery; from celery_external.dashboard.server import serve\n"
        f"app = Celery(); app.conf.external_database_url = {sqlite_url!r}\n"
        "serve(app, port=0)"
    )
    with Process("timeit", "-n", "1", "-r", "1", code) as process:
        url = wait_for(
            lambda: re.search(r"The dashboard is at (\S+)", process.log()), what="the URL"
        )
        assert url is not None
        with httpx.Client(timeout=30) as client:
            assert client.get(url[1]).status_code == 200
            assert client.get(httpx.URL(url[1]).join("/jobs")).status_code == 200
        # Its secret is printed for who started it, and logged nowhere else.
        assert process.log().count(url[1].rpartition("/")[2]) == 1
