"""How many jobs fit: counted up to a limit, estimated beyond it."""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from celery_external.schema import history, job

from .database import Statement, Transaction
from .filters import are_unsettled, conditions, indexed, told_by_index, values_of
from .noted import c, its_history, p
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
    names = frozenset(filters)
    by_index = has is None and are_unsettled(filters) and told_by_index(filters) == names
    values = {"p_namespace": namespace, **values_of(filters)}
    if tx.dialect.name != "postgresql":
        return _number(tx, _count(names, has, by_index=by_index, is_all=True), values), True
    statement = _count(names, has, by_index=by_index, is_all=False)
    found = _number(tx, statement, {**values, "p_limit": CAP + 1})
    if found <= CAP:
        return found, True
    return _estimate(tx, _plan(names, has), values, found)


_LINES = sa.select(history.c.id).where(its_history)
_FIRST_LINES = _LINES.limit(p("limit", sa.Integer())).subquery()
_COUNT_LINES = Statement(lambda _: sa.select(sa.func.count(_FIRST_LINES.c.id).label("number")))
_PLAN_LINES = Statement(lambda _: explained(_LINES))


def count_lines(tx: Transaction, namespace: str, job_id: str) -> tuple[int, bool]:
    """How many lines a job's history has, and whether that is exact.

    SQLite has no estimate, and counts them all.
    """
    is_estimated = tx.dialect.name == "postgresql"
    values = {"p_namespace": namespace, "p_id": job_id}
    limit = CAP + 1 if is_estimated else -1
    found = _number(tx, _COUNT_LINES, {**values, "p_limit": limit})
    if not is_estimated or found <= CAP:
        return found, True
    return _estimate(tx, _PLAN_LINES, values, found)


def are_few(tx: Transaction, namespace: str, filters: Mapping[str, Any], limit: int) -> bool:
    """Whether at most so many rows fit; the filters are those that an index tells by itself."""
    by_index = are_unsettled(filters)
    statement = _count(frozenset(filters), None, by_index=by_index, is_all=False)
    given = {**values_of(filters), "p_namespace": namespace, "p_limit": limit + 1}
    return _number(tx, statement, given) <= limit


def _estimate(
    tx: Transaction, plan: Statement, values: Mapping[str, Any], found: int
) -> tuple[int, bool]:
    """What the planner expects; it may expect fewer than have been found."""
    row = tx.one(plan, **values)
    estimate = int(row["plan"][0]["Plan"]["Plan Rows"]) if row else 0
    return max(estimate, found), False


def _number(tx: Transaction, statement: Statement, values: Mapping[str, Any]) -> int:
    row = tx.one(statement, **values)
    return int(row["number"]) if row else 0


@lru_cache(maxsize=256)
def _count(filters: frozenset[str], has: str | None, *, by_index: bool, is_all: bool) -> Statement:
    one = sa.literal_column("1", sa.Integer()).label("one")
    rows = (
        sa.select(one)
        .select_from(job)
        .where(*(indexed(filters) if by_index else _conditions(filters, has)))
    )
    if not is_all:
        rows = rows.limit(p("limit", sa.Integer()))
    number = sa.select(sa.func.count().label("number")).select_from(rows.subquery())
    return Statement(lambda _: number)


@lru_cache(maxsize=256)
def _plan(filters: frozenset[str], has: str | None) -> Statement:
    rows = sa.select(c.id).where(*_conditions(filters, has))
    return Statement(lambda _: explained(rows))


def _conditions(filters: frozenset[str], has: str | None) -> list[sa.ColumnElement[bool]]:
    return [*conditions(filters), *([c[f"{has}_at"].is_not(None)] if has else [])]
