"""How many jobs fit: counted up to a limit, estimated beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from celery_external.schema import job

from .database import Statement, Transaction
from .filters import conditions, names_of, values_of
from .noted import c, p
from .sql import explained

#: So many are counted one by one, in some milliseconds.
CAP = 10_000


def count(
    tx: Transaction,
    namespace: str,
    filters: Mapping[str, Any],
    *,
    has: str | None = None,
) -> tuple[int, bool]:
    """How many rows fit, and whether that is exact; ``has``: only those with this time.

    SQLite has no estimate, and counts them all.
    """
    names, values = names_of(filters), values_of(filters)
    if tx.dialect.name != "postgresql":
        return _number(tx, _all(names, has), p_namespace=namespace, **values), True
    found = _number(tx, _some(names, has), p_namespace=namespace, p_limit=CAP + 1, **values)
    if found <= CAP:
        return found, True
    # What only leads to an index is left out: the planner would take it for one more condition.
    row = tx.one(_plan(frozenset(filters), has), p_namespace=namespace, **values)
    estimate = int(row["plan"][0]["Plan"]["Plan Rows"]) if row else 0
    return max(estimate, found), False


def _number(tx: Transaction, statement: Statement, **values: Any) -> int:
    row = tx.one(statement, **values)
    return int(row["number"]) if row else 0


@lru_cache(maxsize=256)
def _all(filters: frozenset[str], has: str | None) -> Statement:
    return Statement(lambda _: sa.select(_count).where(*_conditions(filters, has)))


@lru_cache(maxsize=256)
def _some(filters: frozenset[str], has: str | None) -> Statement:
    def build(_dialect: str) -> sa.Select[Any]:
        limit = p("limit", sa.Integer())
        return sa.select(_count).select_from(_rows(filters, has).limit(limit).subquery())

    return Statement(build)


@lru_cache(maxsize=256)
def _plan(filters: frozenset[str], has: str | None) -> Statement:
    return Statement(lambda _: explained(_rows(filters, has)))


_count = sa.func.count().label("number")


def _rows(filters: frozenset[str], has: str | None) -> sa.Select[Any]:
    return (
        sa.select(sa.literal_column("1").label("one"))
        .select_from(job)
        .where(*_conditions(filters, has))
    )


def _conditions(filters: frozenset[str], has: str | None) -> list[sa.ColumnElement[bool]]:
    return [*conditions(filters), *([c[f"{has}_at"].is_not(None)] if has else [])]
