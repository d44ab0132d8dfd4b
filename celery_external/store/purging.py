"""Settled jobs that are old enough go, with what belongs to them."""

from __future__ import annotations

from functools import cache, lru_cache
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import Json, history, job, kept_signal

from .database import Statement, Transaction
from .filters import conditions
from .kept import ENDED
from .noted import after, c, p, these_jobs, undecided
from .sql import is_among, once, seconds_from_now

#: Seconds for which a job that was replaced is kept at least: an ordinary step, which has no row,
#: may be on its way to one that has the job's id and must go on counting its attempts.
REPLACED_AGE = 30 * 86400.0


@cache
def _may_go() -> sa.ColumnElement[bool]:
    """Whether nobody waits for a settled job."""
    other = job.alias("other")
    # Asked of each row by itself, as what is asked of all at once would read whole tables.
    first = sa.select(sa.literal_column("1", sa.Integer())).limit(1)
    # Told to the job's task after the end; it is about the job as it stands.
    waiting_signal = first.where(
        kept_signal.c.namespace == c.namespace,
        kept_signal.c.job_id == c.id,
        kept_signal.c.kind != ENDED,
    ).scalar_subquery()
    # Other steps have taken its place, and the last of them may have its id.
    open_of_canvas = first.where(
        other.c.namespace == c.namespace,
        other.c.root_id == c.root_id,
        sa.or_(other.c.kind.is_(None), other.c.wake_at.is_not(None)),
    ).scalar_subquery()
    is_replaced = sa.func.coalesce(c.answer, c.kind) == states.CONTINUED
    is_over = sa.and_(
        c.completed_at <= once(seconds_from_now(sa.literal(-REPLACED_AGE, sa.Float()))),
        open_of_canvas.is_distinct_from(1),
    )
    return sa.and_(
        # In words for which the planner expects that most rows may go: that is the rule.
        waiting_signal.is_distinct_from(1),
        sa.or_(sa.not_(is_replaced), is_over),
    )


@lru_cache(maxsize=16)
def _due(filters: frozenset[str], *, lock: bool) -> Statement:
    def build(_dialect: str) -> Any:
        query = (
            sa.select(c.id)
            .where(
                *conditions({*filters, "settled"}),
                c.completed_at <= once(after("ago")),
                _may_go(),
            )
            .order_by(c.completed_at, c.id)
            .limit(p("limit", sa.Integer()))
        )
        return query.with_for_update(of=job, skip_locked=True) if lock else query

    return Statement(build)


def is_due(tx: Transaction, namespace: str, seconds: float) -> bool:
    """Whether a job has been settled for so long; reads no more than the oldest."""
    return bool(_find(tx, namespace, seconds, {}, 1, lock=False))


def lock_old(
    tx: Transaction, namespace: str, seconds: float, filters: dict[str, str], limit: int
) -> list[str]:
    """The ids of jobs that may go, locked until the transaction ends; others' are skipped."""
    return _find(tx, namespace, seconds, filters, limit, lock=True)


def _find(
    tx: Transaction,
    namespace: str,
    seconds: float,
    filters: dict[str, str],
    limit: int,
    *,
    lock: bool,
) -> list[str]:
    values = {f"p_{name}": value for name, value in filters.items()}
    statement = _due(frozenset(filters), lock=lock)
    rows = tx.all(statement, p_namespace=namespace, p_ago=-seconds, p_limit=limit, **values)
    return [row["id"] for row in rows]


def _of_jobs(table: Any) -> Any:
    return sa.and_(table.c.namespace == p("namespace"), is_among(table.c.job_id, p("ids", Json())))


_DELETE_HISTORY = Statement(lambda _: sa.delete(history).where(_of_jobs(history)))
_DELETE_KEPT = Statement(
    lambda _: sa.delete(kept_signal).where(_of_jobs(kept_signal), kept_signal.c.kind == ENDED)
)
# What was said of a job between the look and its lock is seen only now.
_DELETE = Statement(
    lambda _: (
        sa.delete(job)
        .where(these_jobs, sa.not_(undecided), c.wake_at.is_(None), _may_go())
        .returning(c.id)
    )
)


def delete(tx: Transaction, namespace: str, ids: list[str], *, keep_history: bool) -> int:
    """Jobs that are locked go, and what is known of their references; returns how many."""
    gone = [row["id"] for row in tx.all(_DELETE, p_namespace=namespace, p_ids=ids)]
    if not keep_history:
        tx.all(_DELETE_HISTORY, p_namespace=namespace, p_ids=gone)
    tx.all(_DELETE_KEPT, p_namespace=namespace, p_ids=gone)
    return len(gone)
