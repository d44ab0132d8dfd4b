"""The servers and processes that the other tests stand on do what they are trusted with."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import psycopg
import pytest
from celery import Celery
from redis import Redis
from sqlalchemy import create_engine, text
from sqlalchemy.pool import NullPool

from tests.processes import Beat, Process, Worker, is_running
from tests.servers import Postgres, Valkey
from tests.waiting import wait_for

APP = "tests.plain_app"


@pytest.fixture(params=["broker_url", "rabbitmq_vhost_url"])
def any_broker_url(request: pytest.FixtureRequest) -> str:
    url: str = request.getfixturevalue(request.param)
    return url


@pytest.fixture
def env(any_broker_url: str, result_url: str) -> dict[str, str]:
    return {"BROKER_URL": any_broker_url, "RESULT_URL": result_url}


@pytest.fixture
def client(env: dict[str, str]) -> Iterator[Celery]:
    with Celery(
        broker=env["BROKER_URL"], backend=env["RESULT_URL"], set_as_current=False
    ) as celery:
        yield celery


def test_worker_runs_a_task(env: dict[str, str], client: Celery) -> None:
    with Worker(APP, env=env) as worker:
        assert client.send_task(f"{APP}.add", (2, 3)).get(timeout=30) == 5

        worker.stop()
        assert worker.returncode == 0
        assert f"{APP}.add" in worker.log()


def test_killed_worker_leaves_no_child_and_starts_again(
    env: dict[str, str], client: Celery
) -> None:
    with Worker(APP, env=env, concurrency=2) as worker:
        client.send_task(f"{APP}.block", (600,))
        worker.wait_for_log(f"Task {APP}.block")
        children = worker.children()
        assert len(children) == 2

        worker.kill()

        assert worker.returncode == -signal.SIGKILL
        assert not any(is_running(pid) for pid in children)

        worker.start()
        result = client.send_task(f"{APP}.add", (2, 3))
        assert result.get(timeout=30) == 5
    assert worker.log().count(f"{worker.hostname} ready.") == 2


def test_beat_starts(broker_url: str, result_url: str) -> None:
    with Beat(APP, env={"BROKER_URL": broker_url, "RESULT_URL": result_url}) as beat:
        assert beat.returncode is None
    assert beat.returncode == 0


def test_process_that_dies_is_reported_with_its_log() -> None:
    process = Process("json.tool", "/no/such/file", ready="never")

    with pytest.raises(AssertionError, match=r"(?s)json\.tool-\d+ ended with 2:\n.*No such file"):
        process.start()

    titles, logs = zip(*Process.report(), strict=True)
    assert f"log of {process.name} (pid {process.pid})" in titles
    assert process.log().strip() in logs
    process.close()


def test_waiting_in_vain_names_what_was_awaited() -> None:
    with pytest.raises(AssertionError) as caught:
        wait_for(lambda: 0, timeout=0.05, what="a blue moon")

    assert str(caught.value) == "waited 0.05 s in vain for a blue moon; the last value was 0"


def test_brokers_of_two_tests_share_nothing(valkey: Valkey) -> None:
    first, second = valkey.fresh_database(), valkey.fresh_database()
    with Redis.from_url(first) as mine, Redis.from_url(second) as yours:
        mine.set("key", "mine")

        assert yours.get("key") is None
        assert mine.get("key") == b"mine"


def test_postgres_database_is_a_copy_of_its_template(postgres: Postgres) -> None:
    template = postgres.create_database()
    run(template, "CREATE TABLE thing AS SELECT 42 AS answer")
    copy = postgres.create_database(postgres.freeze_template(template))

    run(copy, "UPDATE thing SET answer = answer + 1")

    other = postgres.create_database(postgres.freeze_template(template))
    assert scalar(copy, "SELECT answer FROM thing") == 43
    assert scalar(other, "SELECT answer FROM thing") == 42
    for url in (copy, other, template):
        postgres.drop_database(url)


@pytest.mark.parametrize("stop", ["stop", "crash"])
def test_postgres_comes_back_with_what_was_committed(postgres: Postgres, stop: str) -> None:
    url = postgres.create_database()
    run(url, "CREATE TABLE thing AS SELECT 42 AS answer")

    getattr(postgres, stop)()
    try:
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.replace("+psycopg", ""))
    finally:
        postgres.start()

    assert scalar(url, "SELECT answer FROM thing") == 42
    postgres.drop_database(url)


def test_postgres_takes_many_connections(postgres: Postgres) -> None:
    url = postgres.create_database().replace("+psycopg", "")
    connections = [psycopg.connect(url) for _ in range(150)]
    for connection in connections:
        connection.close()


def test_database_url_is_migrated_and_empty(database_url: str) -> None:
    assert scalar(database_url, "SELECT count(*) FROM celery_external_job") == 0


def run(url: str, statement: str) -> None:
    engine = create_engine(url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(text(statement))


def scalar(url: str, query: str) -> object:
    engine = create_engine(url, poolclass=NullPool)
    with engine.connect() as connection:
        return connection.scalar(text(query))
