"""A process that forks: its child must not use, nor close, the connections of the parent."""

from __future__ import annotations

import os
import threading
import weakref
from contextlib import AbstractContextManager, ExitStack, nullcontext
from typing import Any, Protocol


class Forked(Protocol):
    """A database whose connections belong to one process."""

    fork_lock: AbstractContextManager[Any]

    def leave_to_parent(self) -> None:
        """In the child: forget the connections without closing what the parent still uses."""


def lock_for(dialect_name: str) -> AbstractContextManager[Any]:
    """What is held during a statement, and during a fork.

    SQLite keeps its locks by process: a child forked in the middle of a statement of another
    thread would believe for ever that somebody holds them.
    """
    return threading.RLock() if dialect_name == "sqlite" else nullcontext()


_databases: weakref.WeakSet[Any] = weakref.WeakSet()


def watch(database: Forked) -> None:
    """Look after this database when the process forks."""
    _databases.add(database)


class _Forking(threading.local):
    def __init__(self) -> None:
        self.locks = ExitStack()


_forking = _Forking()


def _before_fork() -> None:
    for database in sorted(_databases, key=id):
        _forking.locks.enter_context(database.fork_lock)


def _after_fork() -> None:
    _forking.locks.close()


def _after_fork_in_child() -> None:
    _after_fork()
    for database in list(_databases):
        database.leave_to_parent()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork,
        after_in_parent=_after_fork,
        after_in_child=_after_fork_in_child,
    )
