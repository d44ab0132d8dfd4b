"""What each step costs on PostgreSQL: its statements and commits, counted in the server's own log.

The figures stand in docs/limits.md as well; there a change of this test has to be told.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import make_url

from celery_external import Failed, Succeeded, states
from celery_external.store.database import _REST
from tests.servers import Postgres, database_name
from tests.systems import System
from tests.waiting import wait_for

PAGE = Path(__file__).parent.parent / "docs" / "limits.md"


@dataclass
class Log:
    """The server's log of one database's statements."""

    system: System
    path: Path
    database: str
    watcher: psycopg.Connection[Any]

    def read(self) -> list[str]:
        """The first word of each statement so far."""
        start = rf"^{self.database}\|\d+\|LOG:  (?:statement|execute [^:]+): (\w+)"
        return re.findall(start, self.path.read_text(), re.MULTILINE)

    def during(self, act: Callable[[], object]) -> list[str]:
        """The first words of the statements that ``act`` and its worker run."""
        before = len(self.read())
        act()
        return self.read()[before:]

    def wait(self, job_id: str, condition: str) -> None:
        """Wait until a job is so; looking leaves nothing in the log."""
        query = f"SELECT 1 FROM celery_external_job WHERE id = %s AND {condition}"  # noqa: S608
        wait_for(lambda: self.watcher.execute(query, (job_id,)).fetchone(), what=f"job {job_id}")

    def park(self, task: str = "ask", **options: Any) -> str:
        """Start a job and wait until it has parked."""
        job_id: str = self.system.task(task).apply_async(**options).id
        self.wait(job_id, f"state = '{states.PARKED}'")
        return job_id


SETTLED = "kind IS NOT NULL AND wake_at IS NULL"


@pytest.fixture(scope="module")
def log(postgres: Postgres, make_shared_system: Callable[..., System]) -> Iterator[Log]:
    """A system of its own, whose database logs what it is told."""
    with ExitStack() as stack:
        system = stack.enter_context(
            closing(make_shared_system("PostgreSQL", conf={"external_sweep_interval": 3600}))
        )
        url = make_url(system.env["DATABASE_URL"])
        name = database_name(system.env["DATABASE_URL"])
        postgres.execute(
            sql.SQL("ALTER DATABASE {} SET log_statement = 'all'").format(sql.Identifier(name))
        )
        watcher = stack.enter_context(
            psycopg.connect(
                url.set(drivername="postgresql").render_as_string(),
                autocommit=True,
                options="-c log_statement=none",
            )
        )
        stack.enter_context(system.worker())
        made = Log(system, postgres.log_path, name, watcher)
        # What a process does once, it does here: it looks at the schema's version.
        warm = made.park()
        system.external.signal_succeeded(warm)
        made.wait(warm, SETTLED)
        system.external.sweep()
        yield made


#: What is done, and the first words of its statements. BEGIN is a round trip as well; a statement
#: outside of one is its own transaction, and commits.
COSTS = {
    "start and park": ["INSERT", "UPDATE", "UPDATE"],
    "an assignment to meta in the trigger": ["UPDATE"],
    "signal": ["WITH"],
    "resume": ["UPDATE", "UPDATE"],
    "cancel": ["WITH"],
    "signal_many": ["WITH"],
    "idle sweep": [*["BEGIN", "SELECT", "COMMIT"] * 2, "SELECT"],
}


def test_a_start_and_a_park(log: Log) -> None:
    """The row; a delivery takes it; the trigger assigns once to its meta; the park."""
    found = log.during(log.park)

    assert sorted(found) == sorted(
        COSTS["start and park"] + COSTS["an assignment to meta in the trigger"]
    )


def test_a_signal_and_its_resume(log: Log) -> None:
    """A delivery claims the outcome, and marks that Celery has been told.

    Before it the signal: no look at the row, no BEGIN, no question whether the server lives.
    """
    job_id = log.park()

    def signal() -> None:
        log.system.external.signal_succeeded(job_id, 1)
        log.wait(job_id, SETTLED)

    assert log.during(signal) == COSTS["signal"] + COSTS["resume"]


def test_many_signals(log: Log) -> None:
    jobs = [log.park() for _ in range(5)]
    outcomes = [(job_id, Succeeded(1) if n else Failed("no")) for n, job_id in enumerate(jobs)]

    def signal_all() -> None:
        log.system.external.signal_many(outcomes)
        for job_id in jobs:
            log.wait(job_id, SETTLED)

    found = log.during(signal_all)

    assert sorted(found) == sorted(COSTS["signal_many"] + 5 * COSTS["resume"])


def test_a_cancel(log: Log) -> None:
    job_id = log.park()

    def cancel() -> None:
        log.system.external.cancel_job(job_id)
        log.wait(job_id, SETTLED)

    assert log.during(cancel) == COSTS["cancel"] + COSTS["resume"]


def test_an_idle_sweep(log: Log) -> None:
    """What is due, which signals wait, whether anything is to be purged."""
    log.park()

    assert log.during(log.system.external.sweep) == COSTS["idle sweep"]


def test_a_connection_that_has_rested_is_not_asked_each_time(log: Log) -> None:
    job_id = log.park()
    log.system.external.get_job(job_id)
    rested_until = time.monotonic() + 3 * _REST

    wait_for(lambda: time.monotonic() > rested_until, what="the connection to rest")

    assert log.during(lambda: log.system.external.get_job(job_id)) == ["SELECT", "SELECT"]


def test_the_page_has_the_figures() -> None:
    text = PAGE.read_text()

    for name, words in COSTS.items():
        assert f"| {name} | {len(words)} | {', '.join(words)} |" in text
