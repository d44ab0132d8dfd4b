"""The systems that are watched: long-lived, and one worker each that sends events."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing

import pytest

from tests.conftest import SHARED_CONF
from tests.monitoring.watch import Watch
from tests.processes import Worker
from tests.systems import System

#: It sweeps by itself: there is no beat.
CONF = {**SHARED_CONF, "external_sweep_in_worker": True}


@pytest.fixture(scope="package")
def watched_worker(make_shared_system: Callable[..., System]) -> Iterator[tuple[System, Worker]]:
    """A system whose worker sends events."""
    made = make_shared_system("PostgreSQL", conf=CONF)
    with closing(made), made.worker("--task-events") as worker:
        yield made, worker


@pytest.fixture
def watched(watched_worker: tuple[System, Worker]) -> System:
    """The system."""
    made, _ = watched_worker
    made.app.set_current()
    return made


@pytest.fixture
def hostname(watched_worker: tuple[System, Worker]) -> str:
    """What its worker is called."""
    return watched_worker[1].hostname


@pytest.fixture
def watch(watched: System) -> Iterator[Watch]:
    """What monitors see from now on."""
    with Watch(watched) as made:
        yield made
