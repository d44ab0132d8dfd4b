"""Where a use case's statements run: our own connections, or a transaction of the caller's."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

from celery_external.logs import name_jobs

if TYPE_CHECKING:
    from .database import Row, Transaction

logger = logging.getLogger("celery_external")

#: What is to be done with rows once they are committed.
AfterCommit: TypeAlias = "Callable[[list[Row]], object]"


@runtime_checkable
class Place(Protocol):
    """What runs statements, and knows when they are committed."""

    @property
    def defers(self) -> bool:
        """Whether a transaction is open around it that somebody else commits later."""

    @property
    def dialect_name(self) -> str:
        """``postgresql`` or ``sqlite``."""

    def alone(self) -> AbstractContextManager[Transaction]:
        """For a single statement."""

    def transaction(self) -> AbstractContextManager[Transaction]:
        """For several statements that belong together."""

    def after_commit(self, rows: list[Row], go: AfterCommit) -> None:
        """Call ``go`` with those of the rows that are committed, when they are."""


class Home(Place, Protocol):
    """The database that keeps an app's jobs."""

    #: How its tables are brought up to date.
    upgrade_command: str

    def __str__(self) -> str:
        """For people: no password, a file by its absolute path."""

    @property
    def dialect(self) -> Any:
        """SQLAlchemy's dialect, which statements are compiled for."""

    @property
    def makes_itself(self) -> bool:
        """Whether its tables are made on first use."""

    def guarded(self) -> AbstractContextManager[None]:
        """Turn "the database is away" into DatabaseUnavailableError."""

    def is_integrity_error(self, error: BaseException) -> bool:
        """Whether a write broke a unique index."""

    def read_revision(self) -> str | None:
        """The schema's revision, None when there are no tables of ours."""

    def upgrade(self, migrate: Callable[[Any], None]) -> None:
        """Have ``migrate`` bring the tables up to date by an engine, or say who does."""

    def rest(self, *, is_over: bool = False) -> None:
        """A thread of ours pauses, or ends: it holds no connection that others need."""

    def dispose(self) -> None:
        """Close what is our own; the next call opens it anew."""


class Within:
    """An open transaction of our own, for several use cases."""

    defers = True

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

    def give(self, home: Place) -> None:
        """Hand what was kept, in order, to the place that the transaction was opened in."""
        for rows, go in self._after:
            home.after_commit(rows, go)


@contextmanager
def within(home: Place) -> Iterator[Within]:
    """One transaction of our own around several use cases."""
    with home.transaction() as tx:
        place = Within(tx)
        yield place
    place.give(home)


def go_on(rows: list[Row], go: AfterCommit) -> None:
    """Do what was to follow somebody else's commit, which is over: an error is ours alone."""
    try:
        go(rows)
    except Exception:
        ids = [row["id"] for row in rows]
        logger.exception(
            "The sweep will send what was committed: %s", ", ".join(ids), extra=name_jobs(ids)
        )
