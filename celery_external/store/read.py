"""What looks at jobs without changing them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import sqlalchemy as sa

from celery_external.schema import Json, history, job

from . import counts
from .database import Row, Statement, Transaction
from .filters import are_unsettled, conditions, few, indexed, told_by_index, values_of
from .noted import c, its_history, p, this_job
from .sql import is_among, now, once, seconds_from_now

_GET = Statement(lambda _: sa.select(job).where(this_job))
_HISTORY = Statement(lambda _: sa.select(history).where(its_history).order_by(history.c.id))
_NEWEST = Statement(
    lambda _: (
        sa.select(history)
        .where(its_history)
        .order_by(history.c.id.desc())
        .limit(p("limit", sa.Integer()))
    )
)


def get(tx: Transaction, namespace: str, job_id: str) -> Row | None:
    """The job's row."""
    return tx.one(_GET, p_namespace=namespace, p_id=job_id)


def get_history(tx: Transaction, namespace: str, job_id: str) -> list[Row]:
    """The job's history, oldest first."""
    return tx.all(_HISTORY, p_namespace=namespace, p_id=job_id)


def get_newest_history(tx: Transaction, namespace: str, job_id: str, limit: int) -> list[Row]:
    """At most ``limit`` lines, those of the history's end, oldest first."""
    return tx.all(_NEWEST, p_namespace=namespace, p_id=job_id, p_limit=limit)[::-1]


_BY_REFERENCE = Statement(
    lambda _: sa.select(job).where(
        c.namespace == p("namespace"), c.task == p("task"), c.reference == p("reference")
    )
)


def get_by_reference(tx: Transaction, namespace: str, task: str, reference: str) -> Row | None:
    """The row of the task's job that carries a reference."""
    return tx.one(_BY_REFERENCE, p_namespace=namespace, p_task=task, p_reference=reference)


# --- Locks ---


def _lock(dialect: str, *guards: Any) -> Any:
    if dialect == "postgresql":
        return sa.select(job).where(c.namespace == p("namespace"), *guards).with_for_update()
    # On SQLite a writer locks the file: one that has only read may not get to write any more.
    update = sa.update(job).where(c.namespace == p("namespace"), *guards)
    return update.values(attempt=c.attempt).returning(*c)


_LOCK_ONE = Statement(lambda dialect: _lock(dialect, c.id == p("id")))
_LOCK_CANVAS = Statement(
    lambda dialect: _lock(
        dialect,
        c.root_id == p("root_id"),
        c.kind.is_(None),
        sa.or_(p("task", sa.Text()).is_(None), c.task == p("task")),
    )
)


_HOLD = Statement(
    lambda dialect: (
        sa.select(c.id).where(this_job).with_for_update(key_share=True, read=True)
        if dialect == "postgresql"
        else _lock(dialect, c.id == p("id"))
    )
)


def hold(tx: Transaction, namespace: str, job_id: str) -> bool:
    """Have the job's row stay until the transaction ends; False: it is gone already."""
    return tx.one(_HOLD, p_namespace=namespace, p_id=job_id) is not None


def lock_one(tx: Transaction, namespace: str, job_id: str) -> Row | None:
    """The job's row, which nobody else can change until the transaction ends."""
    return tx.one(_LOCK_ONE, p_namespace=namespace, p_id=job_id)


def lock_canvas(tx: Transaction, namespace: str, root_id: str, task: str | None) -> list[Row]:
    """The open jobs of a canvas, locked likewise."""
    return tx.all(_LOCK_CANVAS, p_namespace=namespace, p_root_id=root_id, p_task=task)


# --- Of several jobs ---

_TASKS = Statement(
    lambda _: sa.select(c.id, c.task, c.attempt).where(
        c.namespace == p("namespace"), is_among(c.id, p("ids", Json()))
    )
)


def find_tasks(tx: Transaction, namespace: str, job_ids: Sequence[str]) -> dict[str, Row]:
    """Task and attempt of these jobs, by their ids."""
    rows = tx.all(_TASKS, p_namespace=namespace, p_ids=job_ids)
    return {row["id"]: row for row in rows}


# --- Lists ----------------------------------------------------------------------------------------

ORDERS: Mapping[str, sa.Column[Any]] = {
    "created": c.created_at,
    "parked": c.parked_at,
    "completed": c.completed_at,
}


#: Jobs that are looked up one by one, and put in order, faster than they are found in order.
FEW = 1000


@lru_cache(maxsize=256)
def _list(
    filters: frozenset[str], order: str, *, after: bool, rare: frozenset[str] | None
) -> Statement:
    return Statement(lambda _: _select(filters, order, after=after, rare=rare))


def _select(
    filters: frozenset[str], order: str, *, after: bool, rare: frozenset[str] | None
) -> Any:
    descending = order.startswith("-")
    column = ORDERS[order.removeprefix("-")]
    query = sa.select(job).where(column.is_not(None))
    if rare == _LABELS:
        query = query.where(few(conditions(rare)), *conditions(filters - rare))
    elif rare is not None:
        query = query.where(few(indexed(rare)), *conditions(filters))
    else:
        query = query.where(*conditions(filters))
    if after:
        here = sa.tuple_(p("after_at", column.type), p("after_id", sa.Text()))
        place = sa.tuple_(column, c.id)
        query = query.where(place < here if descending else place > here)
    both = (column.desc(), c.id.desc()) if descending else (column.asc(), c.id.asc())
    return query.order_by(*both).limit(p("limit", sa.Integer()))


def find(  # noqa: PLR0917
    tx: Transaction,
    namespace: str,
    filters: Mapping[str, Any],
    order: str,
    limit: int,
    after: tuple[Any, str] | None,
) -> list[Row]:
    """Rows in order, at most ``limit``; ``after`` is the last (time, id) seen."""
    values = values_of(filters)
    if after is not None:
        values["p_after_at"], values["p_after_id"] = after
    rare = _find_rare(tx, namespace, filters)
    statement = _list(frozenset(filters), order, after=after is not None, rare=rare)
    return tx.all(statement, p_namespace=namespace, p_limit=limit, **values)


_LABELS = frozenset({"labels"})


def _find_rare(
    tx: Transaction, namespace: str, filters: Mapping[str, Any]
) -> frozenset[str] | None:
    """The filters that few rows fit: in the list's order these would be found among all others.

    The planner does not know how few they are. On SQLite no index has the labels.
    """
    tried = [told_by_index(filters)] if are_unsettled(filters) else []
    if "labels" in filters and tx.dialect.name == "postgresql":
        tried.append(_LABELS)
    for names in tried:
        some = {name: filters[name] for name in names}
        if counts.are_few(tx, namespace, some, FEW):
            return names
    return None


# --- The sweep's questions ------------------------------------------------------------------------


_DUE = Statement(
    lambda _: (
        sa.select(
            c.id,
            c.state,
            c.kind,
            c.sends,
            (c.deadline <= now()).label("past_deadline"),
            (c.due_at <= now()).label("past_due"),
            sa.and_(
                c.expires_at <= now(), sa.func.coalesce(c.expires_at < c.deadline, sa.true())
            ).label("expired"),
        )
        .where(c.namespace == p("namespace"), c.wake_at <= once(now()))
        .order_by(c.wake_at)
        .limit(p("limit", sa.Integer()))
        .with_for_update(skip_locked=True)
    )
)


def lock_due(tx: Transaction, namespace: str, limit: int) -> list[Row]:
    """Rows whose ``wake_at`` has passed, locked until the transaction ends; others' are skipped."""
    return tx.all(_DUE, p_namespace=namespace, p_limit=limit)


# Not EXISTS: where nothing is overdue, which is the rule, the planner would try row after row.
_OVERDUE = Statement(
    lambda _: (
        sa.select(c.id)
        .where(
            c.namespace == p("namespace"),
            c.wake_at <= once(seconds_from_now(p("ago", sa.Float()))),
        )
        .order_by(c.wake_at)
        .limit(1)
    )
)


def is_overdue(tx: Transaction, namespace: str, seconds: float) -> bool:
    """Whether a row has waited for the sweep for longer than this."""
    return tx.one(_OVERDUE, p_namespace=namespace, p_ago=-seconds) is not None
