"""What a soak must not leave behind: transactions, connections, memory, keys, queues."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass

import psutil
import sqlalchemy as sa
from redis import Redis

from tests.processes import Process
from tests.soak.servers import DurableRabbitMQ
from tests.soak.world import QUEUES, World
from tests.waiting import wait_for

#: kombu's list of a queue's bindings, one each however much was sent; Celery's own remote control.
OF_KOMBU = re.compile(r"_kombu\.binding\.|.*\.celery\.pidbox$|unacked_mutex$")
#: The server's word for a connection that has begun something and not ended it.
OPEN_TRANSACTION = """
    SELECT pid, state, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (state LIKE 'idle in transaction%' OR now() - xact_start > interval '1 second')
"""


@dataclass(frozen=True)
class Size:
    """What a process takes."""

    mebibytes: float
    files: int
    threads: int


def measure(world: World) -> Mapping[int, Size]:
    """Every process that runs as long as the world: workers, their children, beat."""
    processes: list[Process] = [*world.workers, world.beat]
    pids = [pid for process in processes for pid in (process.pid, *process.children())]
    return {pid: size_of(pid) for pid in pids}


def size_of(pid: int) -> Size:
    """What one process takes now."""
    process = psutil.Process(pid)
    return Size(
        process.memory_info().rss / 2**20,
        process.num_fds(),
        process.num_threads(),
    )


def growth(before: Mapping[int, Size], after: Mapping[int, Size]) -> Iterator[tuple[int, Size]]:
    """By how much each process has grown; one that was replaced was not asked for."""
    for pid, size in before.items():
        now = after[pid]
        yield (
            pid,
            Size(
                round(now.mebibytes - size.mebibytes, 1),
                now.files - size.files,
                now.threads - size.threads,
            ),
        )


def find_open_transactions(world: World) -> list[str]:
    """Transactions of anybody that are open while nobody does anything."""
    if world.combination.database == "sqlite":
        return find_locks(world)
    with world.engine.connect() as connection:
        return [str(row) for row in connection.execute(sa.text(OPEN_TRANSACTION))]


def find_locks(world: World) -> list[str]:
    """On SQLite: a reader keeps the log from being cut, a writer keeps others from writing."""
    with closing(sqlite3.connect(world.scratch / "jobs.db", timeout=5)) as connection:
        busy, left, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    return [f"the log cannot be cut: {busy}, {left}"] if busy or left else []


def find_keys(world: World) -> list[str]:
    """Keys on the broker and in the result backend that nobody will remove."""
    urls = {world.result_url}
    if world.combination.broker == "valkey":
        urls.add(world.broker_url)
    return [key for url in urls for key in keys_without_expiry(url)]


def keys_without_expiry(url: str) -> list[str]:
    """A database's keys that stay, without kombu's own."""
    with Redis.from_url(url, decode_responses=True) as client:
        keys: list[str] = list(client.scan_iter(count=1000))
        return [key for key in keys if client.ttl(key) == -1 and not OF_KOMBU.match(key)]


def find_queues(world: World) -> list[str]:
    """Queues on RabbitMQ beside those that workers take tasks from, and messages in these."""
    broker = world.servers.get("broker")
    if not isinstance(broker, DurableRabbitMQ):
        return []
    queues = broker.count_messages(world.broker_url)
    return [f"{name}: {n}" for name, n in queues.items() if n or name not in QUEUES]


def ask_pools(world: World, timeout: float = 30) -> Mapping[int, int]:
    """How many connections each process of the workers has out of its pool.

    Each is asked by a task; the tasks take long enough for every process to get one.
    """
    children = {pid for worker in world.workers[:2] for pid in worker.children()}
    wanted = {world.workers[2].pid, *children}
    sent = [0.0]

    def asked() -> Mapping[int, int]:
        answers = {line["pid"]: line["out"] for line in world.notes.read("pools")}
        if wanted <= set(answers):
            return answers
        if time.monotonic() - sent[0] > 2:
            sent[0] = time.monotonic()
            for _ in range(12):
                world.app.send_task("report", [0.3], ignore_result=True)
        return {}

    return wait_for(asked, timeout=timeout, what=f"{wanted} to say what they hold")
