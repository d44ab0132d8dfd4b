"""The scenes: one on each database, each with a worker of one child, for all tests here."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import pytest

from tests.ends.scene import Scene
from tests.systems import System


@contextmanager
def open_scene(made: System) -> Iterator[Scene]:
    # Nobody sweeps: time passes where a test says so.
    with closing(made), made.worker() as worker:
        yield Scene(made, worker)


@pytest.fixture(scope="package")
def sqlite_scene(make_shared_system: Callable[..., System]) -> Iterator[Scene]:
    """The scene on SQLite."""
    with open_scene(make_shared_system("SQLite", tasks="tests.apps.ends")) as made:
        yield made


@pytest.fixture(scope="package")
def postgresql_scene(make_shared_system: Callable[..., System]) -> Iterator[Scene]:
    """The scene on PostgreSQL."""
    with open_scene(make_shared_system("PostgreSQL", tasks="tests.apps.ends")) as made:
        yield made


@pytest.fixture(params=["sqlite", "postgresql"])
def scene(request: pytest.FixtureRequest) -> Scene:
    """A system with one worker of one child, on both databases; nobody sweeps."""
    made: Scene = request.getfixturevalue(f"{request.param}_scene")
    made.system.app.set_current()
    return made
