"""What goes to the broker: many messages in one round trip, and one client for all of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from redis import Redis

from celery_external import Succeeded
from tests.rows import Rows
from tests.servers import Valkey

MANY = 40


@pytest.fixture(scope="module")
def server() -> Iterator[Valkey]:
    """A Valkey that nobody else speaks to: what it counts is ours."""
    with closing(Valkey()) as made:
        made.start()
        yield made


@pytest.fixture
def broker_url(server: Valkey) -> str:
    return server.fresh_database()


@pytest.fixture
def rows(postgres_url: str, broker_url: str) -> Iterator[Rows]:
    """Rows whose messages go to Valkey."""
    with closing(Rows(postgres_url, broker_url=broker_url)) as made:
        yield made


@pytest.fixture
def broker(broker_url: str) -> Iterator[Redis]:
    with Redis.from_url(broker_url) as client:
        yield client


def during(broker: Redis, act: Callable[[], object]) -> tuple[int, int]:
    """How many reads of its clients, and new connections, the server has while ``act`` runs."""
    names = ("total_reads_processed", "total_connections_received")
    before: Any = broker.info("stats")
    act()
    after: Any = broker.info("stats")
    reads, connections = (after[name] - before[name] for name in names)
    return reads - 1, connections  # the look at it is a read


def test_many_go_in_one_round_trip(rows: Rows, broker: Redis) -> None:
    rows.external.signal_succeeded(rows.parked())  # connects
    jobs = [rows.parked() for _ in range(MANY)]

    reads, _ = during(broker, lambda: rows.external.signal_many((i, Succeeded(1)) for i in jobs))

    assert sorted(rows.sent()) == sorted((job_id, 1) for job_id in jobs)
    assert reads < MANY / 4


def test_a_connection_that_has_gone_stale_is_made_anew(rows: Rows, broker: Redis) -> None:
    rows.external.signal_succeeded(rows.parked())
    jobs = [rows.parked() for _ in range(3)]
    broker.client_kill_filter(_type="normal", skipme=True)

    receipts = rows.external.signal_many((job_id, Succeeded(1)) for job_id in jobs)

    assert [receipt.sent for receipt in receipts] == [True] * 3
    assert sorted(rows.sent()) == sorted((job_id, 1) for job_id in jobs)


@pytest.mark.parametrize("envelope", ["no JSON", "{}"], ids=["no-json", "nothing-in-it"])
def test_one_that_is_damaged_keeps_nobody_else(
    rows: Rows, caplog: pytest.LogCaptureFixture, envelope: str
) -> None:
    first, damaged, last = (rows.parked() for _ in range(3))
    rows.write(damaged, envelope=envelope)

    said = [(job_id, Succeeded(1)) for job_id in (first, damaged, last)]
    receipts = rows.external.signal_many(said)

    assert [receipt.sent for receipt in receipts] == [True, False, True]
    assert sorted(rows.sent()) == sorted([(first, 1), (last, 1)])
    assert f"The message of job {damaged} cannot be put together" in caplog.text


def test_one_that_cannot_be_sent_keeps_nobody_else(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    """What kombu refuses breaks the batch off; alone, the others are sent."""
    first, unfit, last = (rows.parked() for _ in range(3))
    row = rows.get(unfit)
    envelope = row["envelope"].replace('"properties": {', '"properties": {"expiration": "soon", ')
    rows.write(unfit, envelope=envelope)

    said = [(job_id, Succeeded(1)) for job_id in (first, unfit, last)]
    with caplog.at_level(logging.INFO, "celery_external"):
        receipts = rows.external.signal_many(said)

    assert [receipt.sent for receipt in receipts] == [True, False, True]
    assert sorted(rows.sent()) == sorted([(first, 1), (last, 1)])
    (told,) = [record for record in caplog.records if "one by one" in record.message]
    assert all(job_id in told.message for job_id in (first, unfit, last))
    assert f"The message of job {unfit} cannot be sent" in caplog.text


def test_signals_share_a_connection(rows: Rows, broker: Redis) -> None:
    rows.external.signal_succeeded(rows.parked())
    jobs = [rows.parked() for _ in range(MANY)]

    def signal_each() -> None:
        for job_id in jobs:
            assert rows.external.signal_succeeded(job_id).sent

    reads, connections = during(broker, signal_each)

    assert connections == 0
    assert reads == MANY


def test_a_queue_is_declared_once_on_a_connection(rows: Rows, broker: Redis) -> None:
    """What kombu declares on Redis is the queue's binding."""
    binding = f"_kombu.binding.{rows.queue}"
    jobs = [rows.parked() for _ in range(3)]

    def signal() -> None:
        assert rows.external.signal_succeeded(jobs.pop()).sent

    assert broker.delete(binding)
    signal()
    assert not broker.exists(binding)

    with rows.app.producer_or_acquire() as producer:
        producer.connection.collect()  # as kombu lets go of one that has broken off
    signal()
    assert broker.delete(binding)
    signal()
    assert not broker.exists(binding)


@pytest.mark.parametrize("way", ["start", "signal"])
def test_a_client_is_made_once_for_a_channel(rows: Rows, broker: Redis, way: str) -> None:
    """And once more when the broker has let go of its connections."""
    job_id = rows.parked()
    with rows.app.producer_or_acquire() as producer:
        channel: Any = producer.channel
    channel.Client = Redis  # as kombu has it
    assert make(channel) is not make(channel)

    if way == "start":
        rows.pending()
    else:
        rows.external.signal_succeeded(job_id)

    first = make(channel)
    assert make(channel) is first
    assert make(channel, asynchronous=True) is not first

    channel._disconnect_pools()  # noqa: SLF001 - as kombu does
    assert make(channel) is not first
    broker.client_kill_filter(_type="normal", skipme=True)
    assert rows.external.signal_succeeded(rows.parked()).sent


def make(channel: Any, **options: Any) -> Any:
    """The client that kombu's channel makes itself for a publish."""
    return channel._create_client(**options)  # noqa: SLF001 - see docs/hooks.md
