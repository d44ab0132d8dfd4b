"""The scenes: one on each database, each with a worker of one child, for all tests here."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from tests.ends.scene import Scene
from tests.servers import Postgres, Valkey
from tests.systems import System


@contextmanager
def open_scene(valkey: Valkey, database_url: str, scratch: Path) -> Iterator[Scene]:
    # Nobody sweeps: time passes where a test says so.
    made = System(
        broker_url=valkey.fresh_database(),
        result_url=valkey.fresh_database(),
        database_url=database_url,
        scratch=scratch,
        tasks="tests.apps.ends",
    )
    with closing(made), made.worker() as worker:
        yield Scene(made, worker)


@pytest.fixture(scope="package")
def sqlite_scene(
    valkey: Valkey, sqlite_template: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Scene]:
    """The scene on SQLite."""
    scratch = tmp_path_factory.mktemp("sqlite-scene")
    shutil.copy(sqlite_template, scratch / "jobs.db")
    with open_scene(valkey, f"sqlite:///{scratch / 'jobs.db'}", scratch) as made:
        yield made


@pytest.fixture(scope="package")
def postgresql_scene(
    valkey: Valkey,
    postgres: Postgres,
    postgres_template: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Scene]:
    """The scene on PostgreSQL."""
    scratch = tmp_path_factory.mktemp("postgresql-scene")
    url = postgres.create_database(postgres_template)
    with open_scene(valkey, url, scratch) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """A system with one worker of one child, on both databases; nobody sweeps."""
    made: Scene = request.getfixturevalue(f"{request.param}_scene")
    made.system.app.set_current()
    return made
