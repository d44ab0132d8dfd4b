"""The crowds: one on each database, each with a worker of three children."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.races.crowd import CHILDREN, Crowd
from tests.servers import Postgres, Valkey
from tests.systems import System


@contextmanager
def gather(valkey: Valkey, database_url: str, scratch: Path) -> Iterator[Crowd]:
    # Nobody sweeps: time passes where a test says so.
    made = System(
        broker_url=valkey.fresh_database(),
        result_url=valkey.fresh_database(),
        database_url=database_url,
        scratch=scratch,
        tasks="tests.apps.ends",
    )
    with closing(made), made.worker(concurrency=CHILDREN) as worker:
        yield Crowd(made, worker)


@pytest.fixture(scope="package")
def sqlite_crowd(
    valkey: Valkey, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Crowd]:
    """The crowd on SQLite."""
    scratch = tmp_path_factory.mktemp("sqlite-crowd")
    shutil.copy(sqlite_template, scratch / "jobs.db")
    with gather(valkey, f"sqlite:///{scratch / 'jobs.db'}", scratch) as made:
        yield made


@pytest.fixture(scope="package")
def postgresql_crowd(
    valkey: Valkey,
    postgres: Postgres,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Crowd]:
    """The crowd on PostgreSQL."""
    scratch = tmp_path_factory.mktemp("postgresql-crowd")
    url = postgres.create_database(postgres_template)
    with gather(valkey, url, scratch) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def crowd(request: pytest.FixtureRequest) -> Crowd:
    """A system with one worker of three children, on both databases; nobody sweeps."""
    made: Crowd = request.getfixturevalue(f"{request.param}_crowd")
    made.system.app.set_current()
    return made


@pytest.fixture
def threads() -> Iterator[ThreadPoolExecutor]:
    """Callers who come at once."""
    with ThreadPoolExecutor(8) as made:
        yield made
