"""A worker is killed around django-celery-results' count of a chord's part; each part counts once.

Nothing stops the worker but the databases: the test holds the lock that it needs next.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from sqlalchemy import make_url

from celery_external import states
from tests.long_waits.conftest import keep_with_django, run_client
from tests.processes import Worker
from tests.servers import Postgres
from tests.systems import TASKS, System
from tests.waiting import wait_for

CONF = {
    "external_sweep_in_worker": True,
    "external_sweep_interval": 0.2,
    "external_resume_grace": 0.3,
}
COUNTER = "SELECT count FROM django_celery_results_chordcounter"


@pytest.fixture
def results(postgres: Postgres) -> Iterator[str]:
    """A database for the results."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


@pytest.mark.parametrize(("ends", "is_counted"), [("succeeded", True), ("failed", False)])
def test_a_part_counts_once_whenever_its_worker_is_killed(
    broker_url: str, sqlite_url: str, results: str, tmp_path: Path, *, ends: str, is_counted: bool
) -> None:
    system = System(
        broker_url=broker_url,
        result_url="disabled://",
        database_url=sqlite_url,
        scratch=tmp_path,
        conf=CONF,
    )
    url = make_url(results)
    env = {
        **system.env,
        **keep_with_django(
            ENGINE="django.db.backends.postgresql",
            NAME=url.database, HOST=url.host, PORT=url.port, USER=url.username,
        ),
    }  # fmt: skip
    with ExitStack() as stack:
        stack.enter_context(closing(system))
        run_client("start_chord", env)
        dsn = results.replace("+psycopg", "")
        look: Any = stack.enter_context(closing(psycopg.connect(dsn, autocommit=True)))
        holder: Any = stack.enter_context(closing(psycopg.connect(dsn)))

        def count() -> int | None:
            row = look.execute(COUNTER).fetchone()
            return row[0] if row else None

        def stored(job_id: str) -> str:
            query = "SELECT status FROM django_celery_results_taskresult WHERE task_id = %s"
            row = look.execute(query, [job_id]).fetchone()
            return row[0] if row else ""

        worker = Worker(TASKS, env=env)
        with worker:
            first, second = system.wait_for_parked(2, timeout=30)
            wait_for(lambda: count() == 2, what="the ordinary part to be counted")
            # It stores the result and waits for the counter.
            holder.execute(f"{COUNTER} FOR UPDATE")
            if ends == "succeeded":
                system.external.signal_succeeded(first, "first")
            else:
                system.external.signal_failed(first, "no")
            wait_for(lambda: stored(first.id) in {"SUCCESS", "FAILURE"}, what="the result")
            if is_counted:
                # It counts and waits to settle.
                jobs = sqlite3.connect(str(make_url(sqlite_url).database), isolation_level=None)
                stack.enter_context(closing(jobs))
                jobs.execute("BEGIN IMMEDIATE")
                holder.commit()
                wait_for(lambda: count() == 1, what="the part to be counted")
            worker.kill()
            if is_counted:
                jobs.execute("ROLLBACK")
            holder.rollback()
            assert count() == (1 if is_counted else 2)
            assert not system.get(first).settled
        with Worker(TASKS, env=env):
            system.wait_settled(first)
            wait_for(lambda: count() == 1, what="the part to be counted once")
            system.external.signal_succeeded(second, "second")
            body = json.loads((tmp_path / "started.json").read_text())["body"]
            wait_for(lambda: stored(body) in {"SUCCESS", "FAILURE"}, what="the body")
        assert system.get(first).state == getattr(
            states, "SUCCESS" if ends == "succeeded" else "FAILURE"
        )
        bodies = system.lines("bodies")
        assert len(bodies) == (ends == "succeeded")
        assert all(set(json.loads(line)) == {"first", "second", 3} for line in bodies)
