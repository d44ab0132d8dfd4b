"""Where a use case's statements run: our own connections, or a transaction of the caller's."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Protocol, TypeAlias

if TYPE_CHECKING:
    from .database import Database, Row, Transaction

#: What is to be done with rows once they are committed.
AfterCommit: TypeAlias = "Callable[[list[Row]], object]"


class Place(Protocol):
    """What runs statements, and knows when they are committed."""

    @property
    def dialect_name(self) -> str:
        """``postgresql`` or ``sqlite``."""

    def alone(self) -> AbstractContextManager[Transaction]:
        """For a single statement."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """For several statements that belong together."""

    def after_commit(self, rows: list[Row], go: AfterCommit) -> None:
        """Call ``go`` with those of the rows that are committed, when they are."""


class Within:
    """An open transaction of our own, for several use cases."""

    def __init__(self, tx: Transaction) -> None:
        self._tx = tx
        self._after: list[tuple[list[Row], AfterCommit]] = []

    @property
    def dialect_name(self) -> str:
        """``postgresql`` or ``sqlite``."""
        return self._tx.dialect.name

    @contextmanager
    def alone(self) -> Iterator[Transaction]:
        """The open transaction."""
        yield self._tx

    transaction = alone

    def after_commit(self, rows: list[Row], go: AfterCommit) -> None:
        """Keep it for the end."""
        self._after.append((rows, go))

    def committed(self) -> None:
        """Do what was kept, in order."""
        for rows, go in self._after:
            go(rows)


@contextmanager
def within(database: Database) -> Iterator[Within]:
    """One transaction of our own around several use cases."""
    with database.transaction() as tx:
        place = Within(tx)
        yield place
    place.committed()
