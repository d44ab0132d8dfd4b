"""The crowds: one on each database, each with a worker of three children."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.races.crowd import CHILDREN, Crowd
from tests.systems import System


@contextmanager
def gather(made: System) -> Iterator[Crowd]:
    # Nobody sweeps: time passes where a test says so.
    with closing(made), made.worker(concurrency=CHILDREN) as worker:
        yield Crowd(made, worker)


@pytest.fixture(scope="package")
def sqlite_crowd(make_shared_system: Callable[..., System]) -> Iterator[Crowd]:
    """The crowd on SQLite."""
    with gather(make_shared_system("SQLite", tasks="tests.apps.ends")) as made:
        yield made


@pytest.fixture(scope="package")
def postgresql_crowd(make_shared_system: Callable[..., System]) -> Iterator[Crowd]:
    """The crowd on PostgreSQL."""
    with gather(make_shared_system("PostgreSQL", tasks="tests.apps.ends")) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def crowd(request: pytest.FixtureRequest) -> Crowd:
    """A system with one worker of three children, on both databases; nobody sweeps."""
    made: Crowd = request.getfixturevalue(f"{request.param}_crowd")
    made.system.app.set_current()
    return made
