"""What a soak must not leave behind: transactions, connections, memory, keys, queues."""

from __future__ import annotations

import re
import sqlite3
import time
from collections.abc import Iterable, Mapping
from contextlib import closing
from dataclasses import astuple, dataclass

import psutil
import sqlalchemy as sa
from redis import Redis

from tests.processes import Process
from tests.soak.servers import DurableRabbitMQ
from tests.soak.world import QUEUES, SWEEP, World
from tests.waiting import wait_for

#: What kombu knows of queues, however much was sent, and the mailboxes of remote control.
OF_KOMBU = re.compile(r"_kombu\.|.*\.celery\.pidbox$")
#: The server's word for a connection that has begun something and not ended it.
OPEN_TRANSACTION = """
    SELECT pid, state, query FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()
    AND (state LIKE 'idle in transaction%' OR now() - xact_start > interval '1 second')
"""


@dataclass(frozen=True)
class Size:
    """What a process takes; ``objects`` are Python's, of those that run tasks."""

    mebibytes: float
    files: int
    threads: int
    objects: int = 0

    def __sub__(self, other: Size) -> Size:
        return Size(
            round(self.mebibytes - other.mebibytes, 1),
            self.files - other.files,
            self.threads - other.threads,
            self.objects - other.objects,
        )

    def exceeds(self, most: Size) -> bool:
        """Whether anything of it is more."""
        mine, allowed = astuple(self), astuple(most)
        return any(number > limit for number, limit in zip(mine, allowed, strict=True))


def largest(sizes: Iterable[Size]) -> Size:
    """The most of each."""
    return Size(*(max(numbers) for numbers in zip(*map(astuple, sizes), strict=True)))


def measure(world: World) -> Mapping[int, Size]:
    """Every process that runs as long as the world: workers, their children, beat."""
    objects = {pid: line["objects"] for pid, line in ask_processes(world).items()}
    processes: list[Process] = [*world.workers, world.beat]
    pids = [pid for process in processes for pid in (process.pid, *process.children())]
    return {pid: size_of(pid, objects.get(pid, 0)) for pid in pids}


def size_of(pid: int, objects: int) -> Size:
    """What one process takes now."""
    process = psutil.Process(pid)
    rss = process.memory_info().rss / 2**20
    return Size(rss, process.num_fds(), process.num_threads(), objects)


def ask_processes(world: World, timeout: float = 30) -> Mapping[int, Mapping[str, int]]:
    """What each process of the workers that runs tasks says of itself.

    Each is asked by a task; the tasks take long enough for every process to get one.
    """
    wanted = {pid for worker in world.workers for pid in worker.children() or [worker.pid]}
    already = len(world.notes.read("processes"))
    sent = [0.0]

    def asked() -> Mapping[int, Mapping[str, int]]:
        answers = {line["pid"]: line for line in world.notes.read("processes")[already:]}
        if wanted <= set(answers):
            return answers
        if time.monotonic() - sent[0] > 2:
            sent[0] = time.monotonic()
            for _ in range(12):
                world.app.send_task("report", [0.3], ignore_result=True)
        return {}

    found = wait_for(asked, timeout=timeout, what=f"{wanted} to say what they hold")
    wait_for(lambda: world.count_messages() == 0, what="the others to be asked, too")
    return found


def find_connections(world: World) -> list[str]:
    """Connections that a process has out of its pool whenever it is asked.

    Once is not enough: another thread of the process may be sweeping just then.
    """
    out: dict[int, int] = {}
    for _ in range(5):
        for pid, line in ask_processes(world).items():
            out[pid] = min(line["out"], out.get(pid, line["out"]))
        if not any(out.values()):
            break
    return [f"process {pid} has {number} connections out" for pid, number in out.items() if number]


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
    """Queues on RabbitMQ beside those that workers take tasks from, and jobs in these."""
    broker = world.servers.get("broker")
    if not isinstance(broker, DurableRabbitMQ):
        return []

    def left() -> list[str]:
        queues = broker.count_messages(world.broker_url)
        return [
            f"{name}: {number} messages"
            for name, number in queues.items()
            if name not in QUEUES or (number and name != SWEEP)
        ]

    # The server notices by and by that nobody listens any more.
    give_up_at = time.monotonic() + 10
    while (found := left()) and time.monotonic() < give_up_at:
        time.sleep(0.5)
    return found
