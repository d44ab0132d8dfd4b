"""``dashboard``: served to one browser, until it is interrupted."""

from __future__ import annotations

import re
import signal
import socket
from http.cookiejar import CookieJar
from urllib.error import HTTPError
from urllib.request import HTTPCookieProcessor, Request, build_opener

import pytest

from tests.cli.shell import Shell, Terminal


def test_the_dashboard(on_sqlite: Shell) -> None:
    with Terminal(on_sqlite, "dashboard", "--port", "0", "--read-only") as server:
        server.read_until("Ctrl-C")
        (url,) = re.findall(r"http://127\.0\.0\.1:\d+/\S+", server.shown)
        root = "/".join(url.split("/")[:3])
        with pytest.raises(HTTPError) as refused:
            build_opener().open(f"{root}/", timeout=30)
        assert refused.value.code == 403
        refused.value.close()
        # A browser that has opened the URL sees the pages.
        browser = build_opener(HTTPCookieProcessor(CookieJar()))
        for page in (url, f"{root}/"):
            with browser.open(Request(page), timeout=30) as response:  # noqa: S310 - our own
                assert response.status == 200
        server.process.send_signal(signal.SIGINT)
        server.read_all()
    assert server.process.returncode == 0
    assert "Traceback" not in server.shown


def test_a_port_that_is_taken(on_sqlite: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        said = on_sqlite.run("dashboard", "--port", port)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith(f"Error: Cannot listen on 127.0.0.1, port {port}: ")
    assert said.err.count("\n") == 1
