"""The sites: each framework's server, with a shop behind it that has a worker."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest

from tests.adapters.documents import PROJECT, write_site
from tests.adapters.site import VIDEOS_SECRET, Shop, Site
from tests.callers import KEY
from tests.conftest import upgrade
from tests.processes import REPOSITORY, Process, Worker
from tests.servers import Postgres
from tests.systems import let_results_go
from tests.waiting import wait_for

HOSTS = "tests.adapters.hosts"
SITES = ("flask", "django", "django-asgi", "fastapi")
#: A caller comes while twenty others wait.
THREADS = "8"


@pytest.fixture(scope="session")
def stoppable() -> Iterator[Postgres]:
    """A PostgreSQL server that a test may stop, if it starts it again."""
    with closing(Postgres()) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def away_url(stoppable: Postgres) -> str:
    """The database of the receivers at ``/away``."""
    url = stoppable.create_database()
    upgrade(url)
    return url


@pytest.fixture(scope="session")
def flask_and_fastapi_env(
    make_broker: Callable[[str], str],
    make_database: Callable[[str], str],
    away_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The pages of both, which have one Celery app: where it is, and its servers (SQLite)."""
    urls = urls_of(make_broker, make_database("SQLite"))
    servers = {
        "redis://localhost:6379/0": urls["BROKER_URL"],
        "redis://localhost:6379/1": urls["RESULT_URL"],
        "postgresql+psycopg://localhost/shop": urls["DATABASE_URL"],
    }
    site = tmp_path_factory.mktemp("site")
    pages = {name: write_site(site / name, servers, "flask.md") for name in ("flask", "fastapi")}
    write_site(pages["fastapi"], servers, "fastapi.md")
    return {**urls, **common_env(away_url), "SITE": str(site)}


@pytest.fixture(scope="session")
def shop(flask_and_fastapi_env: dict[str, str]) -> Iterator[Shop]:
    """The shop of docs/flask.md, its worker running."""
    env = {**flask_and_fastapi_env, **path_env(flask_and_fastapi_env, "flask")}
    with running_shop(env, "shop", "shop") as made:
        yield made


@pytest.fixture(scope="session")
def flask_site(shop: Shop, flask_and_fastapi_env: dict[str, str]) -> Iterator[Site]:
    """docs/flask.md by gunicorn."""
    env = {**flask_and_fastapi_env, **path_env(flask_and_fastapi_env, "flask")}
    with gunicorn("flask", f"{HOSTS}.flask_host:app", shop, env) as site:
        yield site


@pytest.fixture(scope="session")
def fastapi_site(shop: Shop, flask_and_fastapi_env: dict[str, str]) -> Iterator[Site]:
    """docs/fastapi.md by uvicorn."""
    env = {**flask_and_fastapi_env, **path_env(flask_and_fastapi_env, "fastapi")}
    with uvicorn("fastapi", f"{HOSTS}.fastapi_host:app", shop, env) as site:
        yield site


@pytest.fixture(scope="session")
def django_env(
    make_broker: Callable[[str], str],
    stoppable: Postgres,
    away_url: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[str, str]:
    """The page's project: where it is, and its servers (PostgreSQL)."""
    urls = urls_of(make_broker, stoppable.create_database())
    site = tmp_path_factory.mktemp("site")
    write_site(site / "django", {}, "django.md")
    (site / "django" / "proj" / "__init__.py").write_text(PROJECT)
    (site / "django" / "shop" / "__init__.py").touch()
    settings = {
        "OTHER_DATABASE_URL": away_url,
        "DJANGO_SETTINGS_MODULE": f"{HOSTS}.django_settings",
        "SITE": str(site),
    }
    env = {**urls, **common_env(away_url), **settings}
    env.update(path_env(env, "django"))
    subprocess.run(
        [sys.executable, "-m", "django", "migrate", "--verbosity=0"],
        cwd=REPOSITORY, env={**os.environ, **env}, check=True,
    )  # fmt: skip
    return env


@pytest.fixture(scope="session")
def django_shop(django_env: dict[str, str]) -> Iterator[Shop]:
    """The shop of docs/django.md, its worker running."""
    with running_shop(django_env, f"{HOSTS}.django_app", "shop.tasks") as made:
        yield made


@pytest.fixture(scope="session")
def django_site(django_shop: Shop, django_env: dict[str, str]) -> Iterator[Site]:
    """docs/django.md by gunicorn."""
    with gunicorn("django", f"{HOSTS}.django_app:wsgi", django_shop, django_env) as site:
        yield site


@pytest.fixture(scope="session")
def django_asgi_site(django_shop: Shop, django_env: dict[str, str]) -> Iterator[Site]:
    """docs/django.md by uvicorn."""
    with uvicorn("django-asgi", f"{HOSTS}.django_app:asgi", django_shop, django_env) as site:
        yield site


@pytest.fixture(params=SITES)
def site(request: pytest.FixtureRequest) -> Site:
    """Each framework in turn."""
    made: Site = request.getfixturevalue(f"{request.param.replace('-', '_')}_site")
    return made


# --- How they are made ----------------------------------------------------------------------------


def urls_of(make_broker: Callable[[str], str], database_url: str) -> dict[str, str]:
    """The addresses of a shop's servers."""
    return {
        "BROKER_URL": make_broker("Valkey"),
        "RESULT_URL": make_broker("Valkey"),
        "DATABASE_URL": database_url,
    }


def common_env(away_url: str) -> dict[str, str]:
    """What every site is told."""
    return {"AWAY_URL": away_url, "SHOP_SECRET": KEY, "VIDEOS_SECRET": VIDEOS_SECRET}


def path_env(env: dict[str, str], name: str) -> dict[str, str]:
    """Where Python finds the page's files."""
    return {"PYTHONPATH": f"{REPOSITORY}:{Path(env['SITE']) / name}"}


@contextmanager
def running_shop(env: dict[str, str], app: str, prefix: str) -> Iterator[Shop]:
    """The shop while its worker runs."""
    shop = Shop(
        broker_url=env["BROKER_URL"],
        result_url=env["RESULT_URL"],
        database_url=env["DATABASE_URL"],
        prefix=prefix,
    )
    with ExitStack() as running:
        running.callback(shop.close)
        running.enter_context(Worker(app, env=env))
        running.callback(let_results_go, shop.app)
        yield shop


@contextmanager
def gunicorn(name: str, app: str, shop: Shop, env: dict[str, str]) -> Iterator[Site]:
    """A WSGI app while gunicorn serves it."""
    options = ["--bind=127.0.0.1:0", "--worker-class=gthread", f"--threads={THREADS}"]
    # Its place is in the home directory, one for all.
    options.append("--no-control-socket")
    ready = "Booting worker"
    with Process("gunicorn", *options, app, env=env, ready=ready, name=name) as process:
        yield from serving(name, process, r"Listening at: (http://\S+)", shop)


@contextmanager
def uvicorn(name: str, app: str, shop: Shop, env: dict[str, str]) -> Iterator[Site]:
    """An ASGI app while uvicorn serves it."""
    options = ("--port=0", "--no-access-log")
    with Process("uvicorn", *options, app, env=env, ready="running on", name=name) as process:
        yield from serving(name, process, r"running on (http://\S+)", shop)


def serving(name: str, process: Process, listening: str, shop: Shop) -> Iterator[Site]:
    """The site at the address that its server has logged."""
    found = wait_for(lambda: re.search(listening, process.log()), what=f"{name}'s address")
    assert found is not None
    with closing(Site(name, found[1], shop, process)) as site:
        yield site
