"""docs/dashboard.md as it is written, through real HTTP: every host serves and guards the same."""

from __future__ import annotations

import asyncio
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest
from fastapi import FastAPI

from celery_external.contrib.fastapi import dashboard_router
from celery_external.dashboard import Dashboard
from tests.adapters.documents import files_of, write_site
from tests.callers import KEY
from tests.dashboard.sheet import SAFE, Sheet
from tests.dashboard.visitors import ADA, Visitors
from tests.processes import REPOSITORY, Process
from tests.rows import Rows
from tests.waiting import wait_for

HOSTS = "tests.dashboard.hosts"
GUNICORN = ("gunicorn", "--bind=127.0.0.1:0", "--worker-class=gthread", "--threads=4",
            "--no-control-socket")  # fmt: skip
UVICORN = ("uvicorn", "--port=0", "--no-access-log")
#: The server of each host, its app, and whether it is a proxy that says who somebody is.
SERVERS: dict[str, tuple[tuple[str, ...], str, bool]] = {
    "flask": (GUNICORN, f"{HOSTS}.flask_host:app", False),
    "django": (GUNICORN, f"{HOSTS}.django_host:wsgi", False),
    "fastapi": (UVICORN, f"{HOSTS}.fastapi_host:app", False),
    "wsgi": (GUNICORN, "wsgi_web:web", True),
    "asgi": (UVICORN, "asgi_web:web", True),
}


@dataclass
class Host:
    """A server, and the jobs that it shows."""

    name: str
    base: str
    rows: Rows

    @contextmanager
    def visitor(self, name: str | None) -> Iterator[httpx.Client]:
        """Somebody with a browser, who is logged in."""
        with httpx.Client(base_url=self.base, timeout=30) as client:
            if name is not None and SERVERS[self.name][2]:
                client.headers["X-Forwarded-User"] = name
            elif name is not None:
                assert client.get(f"/login/{name}").status_code == 200
            yield client


@pytest.fixture(scope="module")
def rows(make_database: Callable[[str], str]) -> Iterator[Rows]:
    """The jobs."""
    made = Rows(make_database("SQLite"), external_secret_keys=[KEY])
    with closing(made):
        yield made


@pytest.fixture(scope="module")
def bases(rows: Rows, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where each host is, while they run."""
    site = tmp_path_factory.mktemp("site")
    servers = {
        "redis://localhost:6379/0": "memory://",
        "redis://localhost:6379/1": "cache+memory://",
        "postgresql+psycopg://localhost/shop": rows.app.conf.external_database_url,
    }
    write_site(site, servers, "dashboard.md")
    env = {
        "SHOP_SECRET": KEY,
        "USERS": str(site / "users.sqlite3"),
        "PYTHONPATH": f"{REPOSITORY}:{site}",
    }
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity=0"], cwd=REPOSITORY, check=True,
        env={**os.environ, **env, "DJANGO_SETTINGS_MODULE": f"{HOSTS}.django_host"},
    )  # fmt: skip
    with ExitStack() as running:
        processes = {}
        for name, (server, app, _) in SERVERS.items():
            process = Process(*server, app, env=env, name=name)
            processes[name] = running.enter_context(process)
        yield {name: address_of(process) for name, process in processes.items()}


@pytest.fixture(params=SERVERS)
def host(request: pytest.FixtureRequest, bases: dict[str, str], rows: Rows) -> Host:
    """Each in turn."""
    return Host(request.param, bases[request.param], rows)


def address_of(process: Process) -> str:
    """Where the server says it listens, once it does."""
    listening = r"(?:Listening at:|running on) (http://\S+)"
    ready = r"Booting worker|running on"

    def look() -> str | None:
        log = process.log()
        found = re.search(listening, log)
        return found[1] if found and re.search(ready, log) else None

    address = wait_for(look, timeout=60, what=f"{process.name}'s address")
    assert address is not None
    return address


def test_every_section_of_the_page_is_served() -> None:
    assert set(files_of("dashboard.md")) == {
        "shop.py", "flask_web.py", "django_urls.py", "fastapi_web.py", "wsgi_web.py", "asgi_web.py",
    }  # fmt: skip


def test_who_is_not_known_is_not_let_in(host: Host) -> None:
    with host.visitor(None) as nobody:
        for path in ("/dashboard/", "/dashboard/jobs"):
            response = nobody.get(path)
            if SERVERS[host.name][2]:
                assert "not allowed" in response.text
                assert response.status_code == 403
            else:
                assert response.status_code in {302, 307}
                assert response.headers["Location"].startswith("/login")


def test_a_page_and_its_files(host: Host) -> None:
    with host.visitor("bob") as bob:
        response = bob.get("/dashboard", follow_redirects=True)
        assert (response.status_code, response.url.path) == (200, "/dashboard/")
        assert response.headers.items() >= {k.lower(): v for k, v in SAFE.items()}.items()
        sheet = Sheet(response.content)
        assert "Overview" in sheet.text
        files = [given.get("src") or given.get("href") for tag, given in sheet.tags
                 if tag in {"link", "script"}]  # fmt: skip
        for file in files[1:]:
            found = bob.get(str(file))
            assert (found.status_code, "immutable" in found.headers["Cache-Control"]) == (200, True)
        assert bob.head("/dashboard/jobs").status_code == 200
        assert bob.get("/dashboard/nowhere").status_code == 404


def test_somebody_decides(host: Host) -> None:
    job_id = host.rows.parked(task_id=f"{host.name} / é?&")
    url = f"/dashboard/job?{urlencode({'id': job_id})}"
    with host.visitor("bob") as bob, host.visitor("ada") as ada:
        assert len(Sheet(bob.get(url).content).forms) == 1
        form = Sheet(ada.get(url).content).form("Cancel")
        fields = [*form.fields, ("send", "yes")]
        assert post(bob, form.action, fields).status_code == 403
        assert host.rows.history(job_id) == []
        forged = [(name, "x" if name == "key" else value) for name, value in fields]
        assert post(ada, form.action, forged).status_code == 403
        foreign = {"Origin": "https://evil.example"}
        assert post(ada, form.action, fields, **foreign).status_code == 403
        assert host.rows.history(job_id) == []
        response = post(ada, form.action, fields, Origin=host.base)
        assert response.status_code == 303
        said = Sheet(ada.get(response.headers["Location"]).content)
        assert "Recorded." in said.text
        # The last on its connection, which a server may close on what it has not read.
        large = [*fields, ("external-reason", "x" * (1 << 20))]
        assert post(ada, form.action, large).status_code == 413
    (line,) = host.rows.history(job_id)
    assert (line["event"], line["by"]) == ("cancelled", "ada")


def test_django_refuses_who_is_no_staff(bases: dict[str, str], rows: Rows) -> None:
    with Host("django", bases["django"], rows).visitor("eve") as eve:
        assert eve.get("/dashboard/jobs").status_code == 403


@pytest.mark.parametrize(
    ("root_path", "path", "place"),
    [
        ("", "/dashboard/jobs", "/dashboard"),
        # Behind a proxy that strips the prefix, and behind one that does not.
        ("/api", "/dashboard/jobs", "/api/dashboard"),
        ("/api", "/api/dashboard/jobs", "/api/dashboard"),
        ("/api/", "/dashboard/jobs", "/api/dashboard"),
        ("/a b", "/dashboard/jobs", "/a%20b/dashboard"),
    ],
)
def test_fastapi_behind_a_proxy(visitors: Visitors, root_path: str, path: str, place: str) -> None:
    job_id = visitors.rows.parked()
    visitors.rows.settled()
    dashboard = Dashboard(visitors.rows.app, authorize=lambda _: ADA)
    web = FastAPI()
    web.include_router(dashboard_router(dashboard), prefix="/dashboard")
    response = get(web, f"{path}?state=PARKED", root_path)
    sheet = Sheet(response.content)
    assert (response.status_code, job_id in sheet.text) == (200, True)
    assert "1 job" in sheet.text
    below = [url for url in sheet.links if not url.startswith("#")]
    assert below
    assert [url for url in below if not url.startswith(f"{place}/")] == []


def test_fastapi_mounted(visitors: Visitors) -> None:
    inner, web = FastAPI(), FastAPI()
    dashboard = Dashboard(visitors.rows.app, authorize=lambda _: ADA)
    inner.include_router(dashboard_router(dashboard), prefix="/dashboard")
    web.mount("/shop", inner)
    for above in ("", "/api"):
        links = Sheet(get(web, f"{above}/shop/dashboard/jobs", above).content).links
        assert f"{above}/shop/dashboard/jobs" in links


def get(web: FastAPI, url: str, root_path: str) -> httpx.Response:
    """A page of an app, without a server."""

    async def ask() -> httpx.Response:
        transport = httpx.ASGITransport(web, root_path=root_path)
        async with httpx.AsyncClient(transport=transport, base_url="http://shop.example") as client:
            return await client.get(url)

    return asyncio.run(ask())


def post(
    client: httpx.Client, url: str, fields: list[tuple[str, str]], **headers: str
) -> httpx.Response:
    """Send a form."""
    typed = {"Content-Type": "application/x-www-form-urlencoded", **headers}
    return client.post(url, content=urlencode(fields), headers=typed)


def test_the_pictures_of_the_page_are_there() -> None:
    page = (REPOSITORY / "docs" / "dashboard.md").read_text()
    for picture in re.findall(r"!\[.*\]\((.*)\)", page):
        assert (REPOSITORY / "docs" / Path(picture)).stat().st_size < 200_000
