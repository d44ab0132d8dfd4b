"""Chaos: processes and servers are killed and started again, in an order that a seed gives."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Iterator
from random import Random

from tests.processes import Process, Worker
from tests.soak.servers import Server
from tests.soak.world import World

#: How often each card is in the deck; each server comes twice.
DECK = {
    "pool child": 6,
    "worker": 1,
    "worker's main process": 1,
    "beat": 1,
    "starter": 2,
    "signaller": 2,
}
#: Seconds for which what was killed is gone, at the least and most.
GONE = (0.1, 1.5)
#: Between two events some steps run, or the seconds pass: there is no chaos where nothing works.
STEPS, GAP = 20, 2.0
BYTES_OF_STEP = 100


class Chaos:
    """Draws one card after the other; when all are drawn, the deck is shuffled again."""

    def __init__(self, world: World, seed: int) -> None:
        self._world = world
        self._rng = Random(seed)  # noqa: S311 - to be repeated, not to be secret
        self._cards = self._draw()
        self._away: set[str] = set()
        self._killed: Counter[str] = Counter()

    def run(self, seconds: float) -> Counter[str]:
        """Go on for so long; in the end everything runs. Returns how often each was hit."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            # Now and then two things happen at once.
            number = 2 if self._rng.random() < 0.2 else 1
            with contextlib.ExitStack() as gone:
                for _ in range(number):
                    self._play(next(self._cards), gone)
                time.sleep(self._rng.uniform(*GONE))
            self._world.hold_back()
            self._let_work(end)
        return self._killed

    def _let_work(self, end: float) -> None:
        notes = self._world.notes
        enough = notes.size("ran") + self._rng.uniform(0, STEPS) * BYTES_OF_STEP
        until = min(end, time.monotonic() + GAP)
        while notes.size("ran") < enough and time.monotonic() < until:
            time.sleep(0.02)

    def _draw(self) -> Iterator[str]:
        while True:
            deck = [name for name, number in DECK.items() for _ in range(number)]
            deck += [name for name in self._world.servers for _ in range(2)]
            self._rng.shuffle(deck)
            yield from deck

    def _play(self, card: str, gone: contextlib.ExitStack) -> None:
        world = self._world
        if card in world.servers:
            self._take_away(card, world.servers[card], gone)
        elif card == "pool child":
            self._kill_child()
        elif card == "worker":
            self._kill(card, self._rng.choice(world.workers), Process.kill, gone)
        elif card == "worker's main process":
            # Its children finish what they are at, and find nobody to tell.
            self._kill(card, self._rng.choice(world.workers), kill_alone, gone)
        else:
            processes: dict[str, list[Process]] = {
                "beat": [world.beat],
                "starter": world.starters,
                "signaller": world.signallers,
            }
            self._kill(card, self._rng.choice(processes[card]), Process.kill, gone)

    def _kill(
        self,
        card: str,
        victim: Process,
        kill: Callable[[Process], None],
        gone: contextlib.ExitStack,
    ) -> None:
        if victim.returncode is not None:
            return
        kill(victim)
        self._killed[card] += 1
        if not isinstance(victim, Worker) and victim.command[-1].isdigit():
            victim.command[-1] = str(self._rng.randrange(10**9))
        gone.callback(victim.start)

    def _kill_child(self) -> None:
        children = [pid for worker in self._world.workers for pid in worker.children()]
        if children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self._rng.choice(children), signal.SIGKILL)
                self._killed["pool child"] += 1

    def _take_away(self, name: str, server: Server, gone: contextlib.ExitStack) -> None:
        if name in self._away:
            return
        self._away.add(name)
        gone.callback(self._away.discard, name)
        if self._rng.random() < 0.5:
            server.crash()
            self._killed[f"{name}, crashed"] += 1
        else:
            server.stop()
            self._killed[f"{name}, stopped"] += 1
        gone.callback(server.start)


def kill_alone(process: Process) -> None:
    """Kill a process, and none of its children."""
    os.kill(process.pid, signal.SIGKILL)
    process.wait()
