"""A story for the tests of this package: canvases that outlast what Celery remembers."""

from __future__ import annotations

import gc
import json
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from typing import Any

import pytest

from celery_external import Job
from celery_external.canvas import ids_in
from tests.long_waits.memories import EXPIRES, Keys, Memory, Tables
from tests.processes import Process, Worker
from tests.servers import Valkey
from tests.systems import TASKS, System
from tests.waiting import wait_for

CONF = {
    "result_expires": EXPIRES,
    "result_chord_retry_interval": 0.2,
    "external_sweep_in_worker": True,
    "external_sweep_interval": 0.2,
}


#: How many external and ordinary tasks of each canvas run before any answer.
MEMBERS = {
    "chord": (1, 2),
    "chains in a chord": (1, 1),
    "chord in a chord": (1, 2),
    "chord in a chain in a chord": (1, 2),
    "group at a chain's end in a chord": (1, 3),
    "saved group": (2, 1),
    "saved group of groups": (1, 2),
}


@dataclass(slots=True)
class Story:
    """What happened.

    Attributes:
        started: The canvases' results as Celery stores them, by name.
        before: The records' expiries when all externals had parked, by the record's name.
        after: The same when a result of that time had expired.
        completed_at: When the last external was signalled (Unix time).
        read: The canvases' results, read after that.
        last: The latest expiry seen of each record, after that.
    """

    started: dict[str, Any]
    before: dict[str, float]
    after: dict[str, float]
    completed_at: float
    read: dict[str, Any]
    last: dict[str, float]

    @property
    def until(self) -> float:
        """The time until which what was completed is to be there."""
        return self.completed_at + EXPIRES

    def results(self) -> set[str]:
        """The tasks whose results a caller reads: chords' bodies, and saved groups' members."""
        bodies = {result[0][0] for result in self.started.values() if result[1] is None}
        saved = ids_in(result for result in self.started.values() if result[1] is not None)
        return bodies | saved.tasks


class Stage:
    """A system whose result backend is known only to its worker and to its clients."""

    def __init__(self, system: System, memory: Memory, env: dict[str, str]) -> None:
        self._system = system
        self._memory = memory
        self._env = {**system.env, **env}
        self._last: dict[str, float] = {}

    def play(self) -> Story:
        """Wait for longer than the expiry, then answer."""
        system, memory = self._system, self._memory
        with Worker(TASKS, env=self._env, concurrency=2):
            run_client("start", self._env)
            started = json.loads((system.scratch / "started.json").read_text())
            parked = self._wait_for_quiet(started)
            control = self._keep_a_result()
            before = memory.expiries()
            wait_for(lambda: control not in memory.expiries(), what="a result to be forgotten")
            after = memory.expiries()
            with make_client("read", self._env, ready="waits for the results") as client:
                completed_at = time.time()
                for job in parked:
                    system.external.signal_succeeded(job, "answer")
                assert client.wait(60) == 0, client.log()
            story = Story(
                started=started,
                before={name: at for name, at in before.items() if name != control},
                after=after,
                completed_at=completed_at,
                read=json.loads((system.scratch / "read.json").read_text()),
                last=self._last,
            )
            self._watch(story)
            return story

    def _wait_for_quiet(self, started: dict[str, Any]) -> list[Job]:
        """Wait until all externals have parked, and what waits for none of them is done."""
        externals, ordinary = map(sum, zip(*(MEMBERS[name] for name in started), strict=True))
        system = self._system
        wait_for(lambda: len(system.lines("echoes")) >= ordinary, what="the ordinary members")
        return system.wait_for_parked(externals, timeout=30)

    def _keep_a_result(self) -> str:
        """Have the backend keep a result that belongs to nothing; the name of its record."""
        task_id = self._system.app.send_task(self._system.task("echo").name, (0,)).id
        record = self._memory.name_task(task_id)
        wait_for(lambda: record in self._memory.expiries(), what="the result to be there")
        return record

    def _watch(self, story: Story) -> None:
        """Look until all has been renewed, or would have been forgotten."""
        wanted = {self._memory.name_task(task_id) for task_id in story.results()}

        def look() -> bool:
            for name, moment in self._memory.expiries().items():
                self._last[name] = max(moment, self._last.get(name, 0))
            return time.time() > story.until or all(
                self._last.get(name, 0) >= story.until for name in wanted
            )

        wait_for(look, what="the expiry")


@pytest.fixture(scope="package", autouse=True)
def _let_results_go(valkey: Valkey) -> Iterator[None]:
    """A result tells its server when it goes: not after that has gone."""
    del valkey  # outlives this
    yield
    gc.collect()


def run_client(action: str, env: dict[str, str]) -> None:
    """Have a client do something."""
    with make_client(action, env) as client:
        assert client.wait(60) == 0, client.log()


def make_client(action: str, env: dict[str, str], *, ready: str | None = None) -> Process:
    """A client, not yet started."""
    return Process("tests.long_waits.client", action, env=env, ready=ready)


def keep_with_django(**database: Any) -> dict[str, str]:
    """The environment of a process that keeps its results with django-celery-results."""
    return {
        "RESULT_URL": "django-db",
        "RESULTS_DATABASE": json.dumps(database),
        "DJANGO_SETTINGS_MODULE": "tests.long_waits.settings",
    }


@pytest.fixture(scope="package")
def stage(
    request: pytest.FixtureRequest,
    make_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Callable[[str], Stage]]:
    """Makes the stage with a result backend, by its name."""
    get = request.getfixturevalue
    with ExitStack() as made:

        def make(name: str) -> Stage:
            scratch = tmp_path_factory.mktemp(name)
            valkey = get("valkey")
            system = System(
                broker_url=valkey.fresh_database(),
                result_url="disabled://",
                database_url=make_database("PostgreSQL" if name == "database" else "SQLite"),
                scratch=scratch,
                conf=CONF,
            )
            made.enter_context(closing(system))

            def clean_up() -> None:
                system.app.send_task("celery.backend_cleanup", ignore_result=True)

            memory: Memory
            env: dict[str, str] = {}
            if name == "redis":
                url = valkey.fresh_database()
                memory = Keys(url)
            elif name == "database":
                results = get("postgres").create_database()
                url, memory = f"db+{results}", Tables(results, Tables.CELERY, clean_up)
            else:
                file = scratch / "results.db"
                env = keep_with_django(
                    ENGINE="django.db.backends.sqlite3",
                    NAME=str(file),
                    OPTIONS={"timeout": 30, "transaction_mode": "IMMEDIATE"},
                )
                url, memory = "django-db", Tables(f"sqlite:///{file}", Tables.DJANGO, clean_up)
            made.enter_context(closing(memory))
            return Stage(system, memory, {**env, "RESULT_URL": url})

        yield make


@pytest.fixture(scope="package", params=["redis", "database", "django"])
def story(request: pytest.FixtureRequest, stage: Callable[[str], Stage]) -> Story:
    """What happened on each result backend that celery-external knows."""
    return stage(request.param).play()
