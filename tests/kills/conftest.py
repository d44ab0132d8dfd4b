"""Plays each combination once, when the first of its tests asks for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from typing import Any

import pytest

from tests.kills.life import APP, CONFIRM, GRACE, LONG, SWEEPING, with_conf
from tests.kills.play import Seen, play
from tests.kills.points import Combination
from tests.processes import Worker
from tests.systems import System, let_results_go

Played = Mapping[str, Seen]

#: Celery's claim on a chord lasts for as long as the body's publish might take.
SHORT_CLAIM = {"broker_connection_timeout": 1, "task_publish_retry_policy": {"max_retries": 1}}


@contextmanager
def kept(system: System) -> Iterator[System]:
    """Close it in the end; a result tells its server when it goes, so it goes before that."""
    with closing(system):
        yield system
        let_results_go(system.app)


@pytest.fixture(scope="session")
def make_own_system(make_shared_system: Callable[..., System]) -> Callable[..., System]:
    """Makes a system of its own on a broker and a database, with the graces of these tests."""

    def make(broker: str, table: str, **conf: Any) -> System:
        return make_shared_system(table, broker=broker, conf={**GRACE, **conf})

    return make


@pytest.fixture(scope="session")
def played(make_own_system: Callable[..., System]) -> Callable[[Combination], Played]:
    """Gives what was seen of a combination; if its play failed, each of its tests fails."""

    @functools.cache
    def play_once(combination: Combination) -> Played | Exception:
        # Where the broker delivers it once more, no copy is to be sent by the sweep as well.
        grace = LONG if combination.is_redelivered else GRACE["external_pending_grace"]
        try:
            made = make_own_system(
                combination.broker, combination.table, external_pending_grace=grace
            )
            with kept(made) as system:
                return play(combination, system)
        except Exception as exc:  # noqa: BLE001 - raised again for each of the tests
            return exc

    def get(combination: Combination) -> Played:
        seen = play_once(combination)
        if isinstance(seen, Exception):
            raise seen
        return seen

    return get


@pytest.fixture(scope="session")
def make_station(
    make_own_system: Callable[..., System],
) -> Iterator[Callable[[str, str], tuple[System, Worker]]]:
    """Makes a system and a worker on a broker and a database, but once."""
    with ExitStack() as stack:

        @functools.cache
        def make(broker: str, table: str) -> tuple[System, Worker]:
            made = make_own_system(broker, table, **SWEEPING, broker_transport_options=CONFIRM)
            system = stack.enter_context(kept(made))
            worker = Worker(APP, env=with_conf(made, **GRACE, **SHORT_CLAIM), concurrency=4)
            return system, stack.enter_context(worker)

        yield make


@pytest.fixture(params=[("Valkey", "SQLite"), ("RabbitMQ", "PostgreSQL")], ids="-".join)
def station_and_worker(
    request: pytest.FixtureRequest, make_station: Callable[[str, str], tuple[System, Worker]]
) -> tuple[System, Worker]:
    """A worker that lives on while others die. It does not sweep: see :func:`sweeping`."""
    return make_station(*request.param)


@pytest.fixture
def station(station_and_worker: tuple[System, Worker]) -> System:
    """The system of that worker."""
    return station_and_worker[0]


@pytest.fixture
def station_worker(station_and_worker: tuple[System, Worker]) -> Worker:
    """And the worker itself, whose children may be killed."""
    return station_and_worker[1]
