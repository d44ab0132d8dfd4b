"""What a fork leaves behind: it waits for statements under way, and connections stay the parent's.

SQLite keeps its locks by process. A child that is forked while another thread is inside a
statement would believe for ever that somebody holds the file.
"""

from __future__ import annotations

import os
import threading
import weakref
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

#: Seconds that a fork waits at the most: a thread may hold a transaction for as long as it likes.
PATIENCE = 5.0


class ForkGate:
    """Statements pass together; a fork passes alone."""

    def __init__(self) -> None:
        self._reset()
        _gates.add(self)

    def _reset(self) -> None:
        self._changed = threading.Condition(threading.Lock())
        self._inside: Counter[int] = Counter()
        self._is_forking = False

    @contextmanager
    def statement(self) -> Iterator[None]:
        """Around whatever a fork must not interrupt."""
        me = threading.get_ident()
        with self._changed:
            if not self._inside[me]:
                self._changed.wait_for(lambda: not self._is_forking, PATIENCE)
            self._inside[me] += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside[me] -= 1
                if not self._inside[me]:
                    del self._inside[me]
                self._changed.notify_all()

    def before_fork(self) -> None:
        """Let nobody in, and wait for those who are."""
        me = threading.get_ident()
        with self._changed:
            self._is_forking = True
            self._changed.wait_for(lambda: not (self._inside.keys() - {me}), PATIENCE)

    def after_fork(self) -> None:
        """In the parent: go on."""
        with self._changed:
            self._is_forking = False
            self._changed.notify_all()

    def after_fork_in_child(self) -> None:
        """Whoever was inside is not here."""
        self._reset()


class HasConnections(Protocol):
    """What a forked child inherits connections with."""

    def leave_to_parent(self) -> None:
        """Forget them without closing what the parent still uses."""


def leave_after_fork(owner: HasConnections) -> None:
    """In every child that is forked from now on: have its owner forget the connections."""
    _owners.add(owner)


_gates: weakref.WeakSet[ForkGate] = weakref.WeakSet()
_owners: weakref.WeakSet[HasConnections] = weakref.WeakSet()


def _before_fork() -> None:
    for gate in list(_gates):
        gate.before_fork()


def _after_fork() -> None:
    for gate in list(_gates):
        gate.after_fork()


def _after_fork_in_child() -> None:
    for gate in list(_gates):
        gate.after_fork_in_child()
    for owner in list(_owners):
        owner.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
