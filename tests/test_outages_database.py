"""The jobs' database goes away, comes back, or is restarted under load: nothing is half done."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import psycopg
import pytest
from celery import chain

from celery_external import DatabaseUnavailableError, states
from tests.servers import Postgres
from tests.systems import TASKS, System
from tests.waiting import wait_for

CONF = {
    "external_sweep_in_worker": True,
    "external_sweep_interval": 0.2,
    "external_resume_grace": 1,
}


@pytest.fixture
def server() -> Iterator[Postgres]:
    """A PostgreSQL of this test's own, to be stopped and started."""
    with closing(Postgres()) as made:
        made.start()
        yield made


@pytest.fixture
def fragile(server: Postgres, broker_url: str, result_url: str, tmp_path: Path) -> Iterator[System]:
    """A system whose database may go away."""
    made = System(
        broker_url=broker_url,
        result_url=result_url,
        database_url=server.create_database(),
        scratch=tmp_path,
        conf=CONF,
    )
    made.external.upgrade()
    with closing(made):
        yield made


def test_a_signal_says_that_nothing_was_recorded(fragile: System, server: Postgres) -> None:
    result = fragile.task("ask").delay()
    with fragile.worker():
        job = fragile.wait_parked(result)
        server.stop()
        with pytest.raises(DatabaseUnavailableError, match="nothing was recorded"):
            fragile.external.signal_succeeded(job, 1)
        with pytest.raises(DatabaseUnavailableError):
            fragile.task("ask").delay()
        assert fragile.queue_length() == 0
        server.start()
        job = fragile.get(job)
        assert (job.state, job.history) == (states.PARKED, ())
        assert fragile.external.signal_succeeded(job, 1).status == "applied"
        assert result.get(timeout=30) == 1
        assert len(fragile.find_all(order="created")) == 1


def test_a_trigger_that_ends_while_it_is_away_parks_when_it_is_back(
    fragile: System, server: Postgres
) -> None:
    result = fragile.task("ask_slowly").delay("slow")
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("started"), what="the trigger to run")
        server.stop()
        fragile.write("go-slow")
        worker.wait_for_log(f"Job {result.id} waits")
        server.start()
        fragile.wait_parked(result)
    assert fragile.lines("started") == ["slow"]


def test_an_outcome_is_settled_when_it_is_back_and_the_next_step_ran_once(
    fragile: System, server: Postgres
) -> None:
    result: Any = chain(fragile.task("ask").s(), fragile.task("echo").s()).apply_async()
    job = result.parent
    plain = fragile.env["DATABASE_URL"].replace("+psycopg", "")
    with fragile.worker(concurrency=2) as worker:
        fragile.wait_parked(job)
        with closing(psycopg.connect(plain)) as holder:
            fragile.write("hold-next")
            fragile.external.signal_succeeded(job, "done")
            wait_for(lambda: fragile.lines("publishing"), what="the resume to be under way")
            holder.execute("SELECT 1 FROM celery_external_job FOR UPDATE")
            fragile.write("go-next")
            assert result.get(timeout=30) == "done"
            server.crash()
        worker.wait_for_log(f"Job {job.id} waits")
        server.start()
        fragile.wait_settled(job)
    assert fragile.lines("echoes") == ['"done"']


def test_it_is_away_for_long_and_no_message_is_lost(fragile: System, server: Postgres) -> None:
    announced = fragile.task("ask").delay()
    owed = fragile.task("ask").delay()
    fragile.external.signal_succeeded(owed, "early")
    server.stop()
    by_name = fragile.app.send_task(f"{TASKS}.ask", args=["by name"])
    with fragile.worker(concurrency=4) as worker:
        for result in (announced, owed, by_name):
            worker.wait_for_log(f"Job {result.id} cannot begin; its message went back")
        # Half a minute each time: it does not spin.
        assert worker.log().count("cannot begin") <= 4
        server.start()
        assert owed.get(timeout=60) == "early"
        fragile.wait_parked(announced)
        fragile.wait_parked(by_name)
    assert by_name.state == announced.state == "PARKED"


def test_it_is_restarted_under_load(fragile: System, server: Postgres) -> None:
    ask, echo = fragile.task("ask"), fragile.task("echo")
    results: list[Any] = [chain(ask.s(), echo.s()).apply_async() for _ in range(60)]
    is_over = threading.Event()

    def signal(number: int) -> str:
        job = results[number].parent
        while not is_over.is_set():
            try:
                return fragile.external.signal_succeeded(job, number).status
            except DatabaseUnavailableError:
                is_over.wait(0.05)
        return "given up"

    with fragile.worker(concurrency=2), ThreadPoolExecutor(4) as pool:
        fragile.wait_for_parked(30, timeout=60)
        told = [pool.submit(signal, number) for number in range(20)]
        server.restart()
        told += [pool.submit(signal, number) for number in range(20, 40)]
        server.crash()
        server.start()
        told += [pool.submit(signal, number) for number in range(40, 60)]
        for number, result in enumerate(results):
            assert result.get(timeout=90) == number
            fragile.wait_settled(result.parent)
        is_over.set()
        # A commit whose answer was lost is told as a duplicate of itself.
        assert {said.result() for said in told} <= {"applied", "duplicate"}
    jobs = fragile.find_all(order="created")
    assert [job.state for job in jobs] == [states.SUCCESS] * 60
    assert all(len(fragile.get(job).history) == 1 for job in jobs)
