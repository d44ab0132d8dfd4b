"""What every peer can be asked to do: create a job, complete one that waits, go on after it."""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import psycopg
from redis import Redis

from tests.benchmarks.peers.running import Running

#: Done once a call: the creator with the number of the call, the completer with what waits.
Act: TypeAlias = "Callable[[Any], object]"

#: What a job is given, about 1 KB, and what the outside says of it: the same for every peer.
TEXT = "x" * 1000
OUTCOME = {"approved": True, "by": "alice"}
#: Jobs that no worker takes: for figures of the caller's side alone.
BULK = "bulk"
#: Jobs that a worker takes.
LIVE = "live"
PATIENCE = 60


class Peer:
    """One peer, in a process of its own: its client, and its worker when it is wanted.

    Every figure of the caller's side is taken while the worker is stopped, so that all of the
    machine is the caller's and the database's.
    """

    name = ""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = dict(env)
        self.url = env["DATABASE_URL"].replace("+psycopg", "")
        self.redis = Redis.from_url(env["NOTES_URL"], socket_timeout=None)
        self._worker: Running | None = None
        self._keys = map("{}-{}".format, itertools.repeat(os.getpid()), itertools.count(1))

    def set_up(self) -> None:
        """Make the peer's tables; called once, in an empty database."""

    def create(self) -> Act:
        """What creates a job that no worker takes."""
        raise NotImplementedError

    def complete(self) -> Act:
        """What tells a waiting job from outside that it is done."""
        raise NotImplementedError

    def stock(self, number: int) -> list[Any]:
        """So many jobs that wait, each as ``complete`` takes it."""
        raise NotImplementedError

    def begin(self, key: str) -> Any:
        """Create a job that the worker takes, and wait until it waits for the outside."""
        raise NotImplementedError

    def work(self) -> None:
        """Be the worker."""
        raise NotImplementedError

    def hold(self) -> None:
        """Called before a figure of the caller's side is taken."""

    def let_go(self) -> None:
        """Called after it."""

    def command(self) -> list[str]:
        """What starts the worker."""
        return [sys.executable, "-m", "tests.benchmarks.peers.host", self.name, "work"]

    def start(self) -> None:
        """Start the worker."""
        self._worker = Running(self.command(), self.env)

    def stop(self) -> None:
        """Stop the worker."""
        if self._worker is not None:
            self._worker.stop()
            self._worker = None

    def close(self) -> None:
        """Stop everything."""
        self.stop()

    def go_on(self, complete: Act) -> float:
        """Seconds from the call that completes a job until its next step begins to run."""
        key = next(self._keys)
        waiting = self.begin(key)
        # Time for it to come to rest; and whoever polls is met at any point of the interval.
        time.sleep(0.3 + 0.5 * random.random())  # noqa: S311 - nothing secret
        start = time.monotonic()
        complete(waiting)
        noted: str = self.wait_for(f"note:{key}")
        return float(noted.split(maxsplit=1)[0]) - start

    def note(self, key: str) -> None:
        """Called as the next step begins; every process of the machine reads the same clock."""
        self.redis.rpush(f"note:{key}", repr(time.monotonic()))

    def say_waiting(self, key: str, what: str) -> None:
        """Called by a job that is about to wait, with what completes it."""
        self.redis.rpush(f"waiting:{key}", what)

    def wait_for(self, key: str) -> str:
        """Wait for what a worker says."""
        found: Any = self.redis.blpop([key], timeout=PATIENCE)
        if found is None:
            message = f"{self.name}: no word on {key}"
            raise TimeoutError(message)
        said: str = found[1].decode()
        return said

    def connect(self) -> psycopg.Connection[Any]:
        """A connection that commits each statement."""
        return psycopg.connect(self.url, autocommit=True)
