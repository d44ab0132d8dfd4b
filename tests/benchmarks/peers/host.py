"""A peer's process: ``python -m tests.benchmarks.peers.host PEER [work]``, asked over its pipe.

It runs in the peers' environment, so it imports nothing but the peer, psycopg and redis.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
import threading
import time
import traceback
from collections.abc import Sequence
from typing import Any

from tests.benchmarks.peers.peer import Act, Peer

PATIENCE = 120.0


class Host:
    """Answers what it is asked."""

    def __init__(self, peer: Peer) -> None:
        self._peer = peer
        self._acts: dict[str, list[Act]] = {"create": [], "complete": []}
        self._items: list[Any] = []

    def answer(self, do: str, **given: Any) -> Any:
        """Do what is asked; ``do`` is the name of a method."""
        return getattr(self, f"_do_{do}")(**given)

    def _do_set_up(self) -> None:
        self._peer.set_up()

    def _do_start(self) -> None:
        self._peer.start()

    def _do_stop(self) -> None:
        self._peer.stop()

    def _do_close(self) -> None:
        self._peer.close()

    def _do_give(self, items: list[Any]) -> None:
        self._items += items

    def _do_stock(self, number: int) -> None:
        lacking = number - len(self._items)
        if lacking > 0:
            self._items += self._peer.stock(lacking)
        self._peer.connect().execute("VACUUM (ANALYZE)")

    def _do_measure(self, verb: str, threads: int, seconds: float) -> tuple[int, float, float]:
        acts = self._acts[verb]
        while len(acts) < threads:
            acts.append(getattr(self._peer, verb)())
        items: Sequence[Any] = range(10**9)
        if verb == "complete":
            items, self._items = self._items, []
        callers = [_Caller(act, items[n::threads], seconds) for n, act in enumerate(acts[:threads])]
        self._peer.hold()
        try:
            _run(callers)
        finally:
            self._peer.let_go()
        # What is left over waits for the next time.
        if verb == "complete":
            self._items = [item for caller in callers for item in caller.left()]
        number = sum(caller.done for caller in callers)
        return number, min(c.start for c in callers), max(c.end for c in callers)

    def _do_go_on(self, number: int) -> list[float]:
        acts = self._acts["complete"]
        if not acts:
            acts.append(self._peer.complete())
        return [self._peer.go_on(acts[0]) for _ in range(number)]


class _Caller:
    """A thread that calls until the time is over or nothing is left."""

    def __init__(self, act: Act, items: Sequence[Any], seconds: float) -> None:
        self._act, self._items, self._seconds = act, items, seconds
        self.done, self.start, self.end = 0, 0.0, 0.0
        self.problem: BaseException | None = None

    def left(self) -> Sequence[Any]:
        return self._items[self.done + 1 :]

    def run(self, gate: threading.Barrier) -> None:
        now = 0.0
        try:
            # Once before all begin: connections are opened, statements prepared.
            self._act(self._items[0])
            gate.wait(PATIENCE)
            self.start = now = time.monotonic()
            until = now + self._seconds
            for item in self._items[1:]:
                self._act(item)
                self.done += 1
                now = time.monotonic()
                if now >= until:
                    break
        except BaseException as exc:  # noqa: BLE001 - told to who asked
            self.problem = exc
            gate.abort()
        self.end = now


def _run(callers: Sequence[_Caller]) -> None:
    gate = threading.Barrier(len(callers))
    threads = [threading.Thread(target=caller.run, args=(gate,)) for caller in callers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    problems = [caller.problem for caller in callers if caller.problem is not None]
    # What broke the gate, rather than that it is broken.
    for problem in sorted(problems, key=lambda it: isinstance(it, threading.BrokenBarrierError)):
        raise problem


def main() -> None:
    """Be the worker, or answer until the pipe is closed."""
    name, *rest = sys.argv[1:]
    peer: Peer = importlib.import_module(f"tests.benchmarks.peers.{name}").Measured(os.environ)
    if rest:
        peer.work()
        return
    # What the peers print must not come between the answers.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    host = Host(peer)
    try:
        for line in sys.stdin:
            try:
                answer = {"answer": host.answer(**json.loads(line))}
            except Exception:  # noqa: BLE001 - told to who asked
                answer = {"problem": traceback.format_exc()}
            answers.write(json.dumps(answer) + "\n")
            answers.flush()
    finally:
        peer.close()


if __name__ == "__main__":
    main()
