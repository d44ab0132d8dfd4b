"""Which broker, result backend and state table are run together: every pair of values once."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

BROKERS = ("Valkey", "RabbitMQ")
BACKENDS = ("Redis", "database", "rpc", "disabled")
TABLES = ("PostgreSQL", "SQLite")


@dataclass(frozen=True, slots=True)
class Combination:
    """One column of the table, and one worker.

    Attributes:
        broker: One of BROKERS.
        backend: One of BACKENDS; ``database`` is kept where the state table is.
        table: One of TABLES.
        processes: Of the worker's pool. With one, the order of all events of a canvas that goes
            step by step is settled, and compared.
    """

    broker: str
    backend: str
    table: str
    processes: int = 2

    def __str__(self) -> str:
        return f"{self.broker}-{self.backend}-{self.table}".lower()

    @property
    def pairs(self) -> set[frozenset[str]]:
        """The pairs of values that meet here."""
        return {
            frozenset(pair)
            for pair in itertools.combinations((self.broker, self.backend, self.table), 2)
        }

    @property
    def has_chords(self) -> bool:
        """Whether Celery runs chords on this result backend."""
        return self.backend in {"Redis", "database"}

    @property
    def has_results(self) -> bool:
        """Whether there are results to look at."""
        return self.backend != "disabled"

    @property
    def has_shared_results(self) -> bool:
        """Whether everybody can look at the result of every task."""
        return self.backend in {"Redis", "database"}


#: Two brokers and four backends are eight pairs: fewer combinations cannot have them all.
COMBINATIONS = (
    Combination("Valkey", "Redis", "PostgreSQL"),
    Combination("Valkey", "database", "SQLite"),
    Combination("Valkey", "rpc", "PostgreSQL"),
    Combination("Valkey", "disabled", "SQLite", processes=1),
    Combination("RabbitMQ", "Redis", "SQLite", processes=1),
    Combination("RabbitMQ", "database", "PostgreSQL"),
    Combination("RabbitMQ", "rpc", "SQLite"),
    Combination("RabbitMQ", "disabled", "PostgreSQL"),
)
