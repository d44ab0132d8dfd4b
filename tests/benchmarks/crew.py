"""Callers that start together: processes, each with threads, of which each works off a list."""

from __future__ import annotations

import importlib
import multiprocessing
import threading
import time
from collections.abc import Callable, Sequence
from multiprocessing.connection import Connection
from typing import Any, TypeAlias

#: Made once in each thread; called with each item.
Act: TypeAlias = "Callable[[Any], object]"
PATIENCE = 600.0


class Crew:
    """So many processes of so many threads that do the same, each with items of its own.

    Arguments:
        make: ``module:function``, which each thread calls with ``arguments`` for what it then
            calls with each item.
    """

    def __init__(self, make: str, *arguments: Any, processes: int, threads: int = 1) -> None:
        # Forked from a process that has imported it, and opened nothing: dozens start at once.
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([make.partition(":")[0]])
        self._threads = threads
        self._barrier = context.Barrier(processes * threads)
        self._pipes: list[Connection] = []
        self._processes = []
        for _ in range(processes):
            ours, theirs = context.Pipe()
            process = context.Process(
                target=_serve, args=(theirs, make, arguments, threads, self._barrier), daemon=True
            )
            process.start()
            self._pipes.append(ours)
            self._processes.append(process)

    def run(self, items: Sequence[Any]) -> tuple[float, list[float]]:
        """Share the items out; return the seconds that they took, and those of each."""
        size = len(self._pipes)
        for index, pipe in enumerate(self._pipes):
            pipe.send(items[index::size])
        answers = [_receive(pipe) for pipe in self._pipes]
        spans = [span for answer in answers for span in answer]
        seconds = max(end for _, end, _ in spans) - min(start for start, _, _ in spans)
        return seconds, [took for _, _, each in spans for took in each]

    def __len__(self) -> int:
        """How many processes there are."""
        return len(self._processes)

    def close(self) -> None:
        """Send everybody home."""
        for pipe in self._pipes:
            pipe.send(None)
        for process in self._processes:
            process.join(PATIENCE)


def _receive(pipe: Connection) -> list[tuple[float, float, list[float]]]:
    answer = pipe.recv()
    if isinstance(answer, BaseException):
        raise answer
    spans: list[tuple[float, float, list[float]]] = answer
    return spans


def _serve(
    pipe: Connection, make: str, arguments: tuple[Any, ...], threads: int, barrier: Any
) -> None:
    module, _, name = make.partition(":")
    factory = getattr(importlib.import_module(module), name)
    workers = [_Thread(factory, arguments, barrier) for _ in range(threads)]
    while (items := pipe.recv()) is not None:
        for index, worker in enumerate(workers):
            worker.give(items[index::threads])
        spans = [worker.take() for worker in workers]
        problems = [span for span in spans if isinstance(span, BaseException)]
        pipe.send(problems[0] if problems else spans)


class _Thread:
    """A thread that keeps what it was made with from run to run."""

    def __init__(self, factory: Callable[..., Act], arguments: tuple[Any, ...], gate: Any) -> None:
        self._factory, self._arguments, self._gate = factory, arguments, gate
        self._given, self._done = threading.Semaphore(0), threading.Semaphore(0)
        self._items: Sequence[Any] = ()
        self._span: tuple[float, float, list[float]] | BaseException = (0.0, 0.0, [])
        threading.Thread(target=self._go, daemon=True).start()

    def give(self, items: Sequence[Any]) -> None:
        """Have it begin, together with all others."""
        self._items = items
        self._given.release()

    def take(self) -> tuple[float, float, list[float]] | BaseException:
        """Wait until it is through; when it began and ended, and how long each item took."""
        self._done.acquire()
        return self._span

    def _go(self) -> None:
        act: Act | None = None
        while True:
            self._given.acquire()
            try:
                act = act or self._factory(*self._arguments)
                self._span = self._work(act)
            except BaseException as exc:  # noqa: BLE001 - told to who asked
                self._gate.abort()
                self._span = exc
            self._done.release()

    def _work(self, act: Act) -> tuple[float, float, list[float]]:
        each = []
        self._gate.wait(PATIENCE)
        start = before = time.monotonic()
        for item in self._items:
            act(item)
            now = time.monotonic()
            each.append(now - before)
            before = now
        return start, before, each
