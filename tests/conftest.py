"""Fixtures that every test may use: servers, fresh databases and brokers, processes in reports."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any, NoReturn

import pytest
from celery import _state

from tests import plans
from tests.callers import Callers
from tests.processes import REPOSITORY, Process
from tests.rows import Rows
from tests.servers import Postgres, RabbitMQ, Valkey
from tests.systems import TASKS, System

#: Beat sweeps often, so that a test need not wait for it.
SHARED_CONF = {"external_sweep_interval": 0.2, "external_resume_grace": 2.0}

#: What the app of ``tests.apps.outside`` signs with.
OUTSIDE_KEY = "a secret for the tests of callbacks"
#: As this process was started with.
ENVIRONMENT = dict(os.environ)

UPGRADE = """
import sys
from celery import Celery
from celery_external import get_external
app = Celery()
app.conf.external_database_url = sys.argv[1]
get_external(app).upgrade()
"""


@pytest.fixture(scope="session")
def valkey() -> Iterator[Valkey]:
    """The Valkey server of this run."""
    with closing(Valkey()) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def valkey_url(valkey: Valkey) -> str:
    """The URL of the Valkey server, without a database number."""
    return valkey.base_url


@pytest.fixture
def broker_url(valkey: Valkey) -> str:
    """A broker on Valkey that no other test uses."""
    return valkey.fresh_database()


@pytest.fixture
def result_url(valkey: Valkey) -> str:
    """A result backend on Valkey that no other test uses, and not the broker's database."""
    return valkey.fresh_database()


@pytest.fixture(scope="session")
def rabbitmq() -> Iterator[RabbitMQ]:
    """The RabbitMQ node of this run; without the system's package the test is skipped."""
    if RabbitMQ.find_scripts() is None:
        skip_without("rabbitmq-server")
    with closing(RabbitMQ()) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def rabbitmq_url(rabbitmq: RabbitMQ) -> str:
    """The URL of RabbitMQ's default virtual host, which tests share."""
    return rabbitmq.url


@pytest.fixture
def rabbitmq_vhost_url(rabbitmq: RabbitMQ) -> str:
    """A virtual host of RabbitMQ that no other test uses."""
    return rabbitmq.fresh_vhost()


@pytest.fixture(scope="session")
def postgres() -> Iterator[Postgres]:
    """The PostgreSQL server of this run."""
    with closing(Postgres()) as server:
        server.start()
        yield server


@pytest.fixture(scope="session")
def postgres_template(postgres: Postgres) -> str:
    """The name of a migrated database, to be copied."""
    url = postgres.create_database()
    upgrade(url)
    return postgres.freeze_template(url)


@pytest.fixture
def postgres_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """A fresh migrated database on PostgreSQL."""
    url = postgres.create_database(postgres_template)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def many_jobs_url(postgres: Postgres, postgres_template: str) -> Iterator[str]:
    """A database with 100,000 jobs and statistics, which nobody changes."""
    url = postgres.create_database(postgres_template)
    plans.fill(url)
    yield url
    postgres.drop_database(url)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file, to be copied."""
    path = tmp_path_factory.mktemp("template") / "jobs.sqlite3"
    upgrade(f"sqlite:///{path}")
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return path


@pytest.fixture
def sqlite_url(sqlite_template: Path, tmp_path: Path) -> str:
    """A fresh migrated SQLite file."""
    path = tmp_path / "jobs.sqlite3"
    shutil.copyfile(sqlite_template, path)
    return f"sqlite:///{path}"


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """A fresh migrated database, on each kind in turn."""
    fixtures = {"sqlite": "sqlite_url", "postgresql": "postgres_url"}
    url: str = request.getfixturevalue(fixtures[request.param])
    return url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without tables, of each kind in turn."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}"
        return
    server: Postgres = request.getfixturevalue("postgres")
    url = server.create_database()
    yield url
    server.drop_database(url)


@pytest.fixture(scope="session", autouse=True)
def _leave_no_process() -> Iterator[None]:
    yield
    Process.kill_all()


def pytest_configure() -> None:
    """A run that a shell put into the background ignores Ctrl-C, and so would what it starts."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_runtest_setup() -> None:
    """Begin each test's list of processes with those that are still running."""
    Process.forget_ended()


@pytest.fixture(autouse=True)
def _leave_environment() -> Iterator[None]:
    # The celery command takes BROKER_URL and others for options: a worker of the next test, which
    # names no broker, would work for another one.
    yield
    changed = os.environ.items() ^ ENVIRONMENT.items()
    assert {name for name, _ in changed if not name.startswith("PYTEST_")} == set()


@pytest.fixture(scope="module", autouse=True)
def _leave_current_app() -> Iterator[None]:
    # What asks for the current app in a later module would speak to this one's servers.
    before = _state.get_current_app()
    yield
    before.set_current()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport() -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """Show the logs of a failed test's processes under its traceback."""
    report = yield
    if report.failed:
        report.sections.extend(Process.report())
    return report


def skip_without(package: str) -> NoReturn:
    """Skip the test for want of a package of the system, which CI has to have."""
    reason = f"{package} is not installed"
    if os.environ.get("CI") == "true":
        pytest.fail(f"{reason}, and CI must not skip")
    pytest.skip(reason)


def upgrade(url: str) -> None:
    """Bring a database to the newest schema, in a process that leaves no connection behind."""
    subprocess.run([sys.executable, "-c", UPGRADE, url], cwd=REPOSITORY, check=True)


@pytest.fixture
def make_system(
    broker_url: str, result_url: str, database_url: str, tmp_path: Path
) -> Iterator[Callable[..., System]]:
    """Makes apps with servers of their own, without a worker, on both databases."""
    with ExitStack() as made:

        def make(*, tasks: str = TASKS, **conf: Any) -> System:
            system = System(
                broker_url=broker_url,
                result_url=result_url,
                database_url=database_url,
                scratch=tmp_path,
                conf=conf,
                tasks=tasks,
            )
            return made.enter_context(closing(system))

        yield make


@pytest.fixture
def idle_system(make_system: Callable[..., System]) -> System:
    """An app with servers of its own, without a worker, on both databases."""
    return make_system()


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """Rows and an External, and nobody who works for them."""
    with closing(Rows(database_url)) as made:
        yield made


@pytest.fixture
def make_callers(database_url: str) -> Iterator[Callable[..., Callers]]:
    """Makes receivers of webhooks, and callers of theirs."""
    with ExitStack() as made:

        def make(**options: Any) -> Callers:
            callers = Callers(database_url, **options)
            made.enter_context(closing(callers.rows))
            return callers

        yield make


@pytest.fixture
def callers(make_callers: Callable[..., Callers]) -> Callers:
    """A receiver of webhooks, and callers of its."""
    return make_callers()


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    """Callers who come at once."""
    with ThreadPoolExecutor(8) as made:
        yield made


# --- What lives longer than a test, on no server that is not needed -------------------------------


@pytest.fixture(scope="session")
def make_broker(request: pytest.FixtureRequest) -> Callable[[str], str]:
    """Gives the URL of a broker of its own: ``Valkey`` or ``RabbitMQ``."""
    get = request.getfixturevalue

    def make(kind: str) -> str:
        url: str = (
            get("rabbitmq").fresh_vhost() if kind == "RabbitMQ" else get("valkey").fresh_database()
        )
        return url

    return make


@pytest.fixture(scope="session")
def make_database(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[str], str]:
    """Gives the URL of a migrated database of its own: ``PostgreSQL`` or ``SQLite``."""
    get = request.getfixturevalue

    def make(kind: str) -> str:
        if kind == "PostgreSQL":
            url: str = get("postgres").create_database(get("postgres_template"))
            return url
        path = tmp_path_factory.mktemp("database") / "jobs.sqlite3"
        shutil.copyfile(get("sqlite_template"), path)
        return f"sqlite:///{path}"

    return make


@pytest.fixture(scope="session")
def make_shared_system(
    make_broker: Callable[[str], str],
    make_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[..., System]:
    """Makes an app with servers of its own for many tests; whoever has it made closes it."""

    def make(database: str, *, broker: str = "Valkey", **options: Any) -> System:
        return System(
            broker_url=make_broker(broker),
            result_url=make_broker("Valkey"),
            database_url=make_database(database),
            scratch=tmp_path_factory.mktemp(f"{database}-system"),
            **options,
        )

    return make


@pytest.fixture(scope="session")
def sqlite_system(make_shared_system: Callable[..., System]) -> Iterator[System]:
    """The long-lived system on SQLite."""
    made = make_shared_system("SQLite", conf=SHARED_CONF)
    with closing(made), made.worker(), made.beat():
        yield made


@pytest.fixture(scope="session")
def postgresql_system(make_shared_system: Callable[..., System]) -> Iterator[System]:
    """The long-lived system on PostgreSQL."""
    made = make_shared_system("PostgreSQL", conf=SHARED_CONF)
    with closing(made), made.worker(), made.beat():
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def system(request: pytest.FixtureRequest) -> System:
    """An app with one worker process and beat, shared by all tests, on both databases."""
    made: System = request.getfixturevalue(f"{request.param}_system")
    made.app.set_current()
    return made


@pytest.fixture(scope="session", params=["SQLite", "PostgreSQL"])
def outside(
    request: pytest.FixtureRequest, make_shared_system: Callable[..., System]
) -> Iterator[System]:
    """The app of ``tests.apps.outside`` and a worker of it, on both databases."""
    conf = {
        "external_sweep_in_worker": True,
        "external_sweep_interval": 0.1,
        "external_resume_grace": 0.5,
        "external_secret_keys": [OUTSIDE_KEY],
        "external_base_url": "https://shop.example/external",
    }
    made = make_shared_system(request.param, conf=conf, tasks="tests.apps.outside")
    with closing(made), made.worker():
        yield made
