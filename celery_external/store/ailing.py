"""Jobs that something is wrong with: the questions of the doctor."""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from .database import Row, Statement, Transaction
from .filters import few, indexed
from .noted import after, c, p, params
from .sql import now, once


def _jobs(*guards: Any, order: Any = None) -> Statement:
    query = sa.select(c.id, c.task, c.queue, c.wake_at, c.completed_at)
    query = query.where(c.namespace == p("namespace"), *guards)
    if order is not None:
        query = query.order_by(order)
    return Statement(lambda _: query.limit(p("limit", sa.Integer())))


_UNSWEPT = _jobs(c.wake_at <= once(after("ago")), order=c.wake_at)
_OWED = _jobs(few(indexed(["owed"])), c.completed_at <= once(after("ago")))
_STUCK = _jobs(few(indexed(["stuck"])))
_UNTAKEN = _jobs(
    few(indexed(["untaken"])),
    c.created_at <= once(after("ago")),
    sa.or_(c.sends > 0, c.due_at <= once(now())),
)


def find_unswept(tx: Transaction, namespace: str, seconds: float, limit: int) -> list[Row]:
    """Jobs that have waited for the sweep for longer than this, the longest first."""
    return tx.all(_UNSWEPT, **params(namespace=namespace, ago=-seconds, limit=limit))


def find_owed(tx: Transaction, namespace: str, seconds: float, limit: int) -> list[Row]:
    """Outcomes that Celery has not taken for longer than this."""
    return tx.all(_OWED, **params(namespace=namespace, ago=-seconds, limit=limit))


def find_stuck(tx: Transaction, namespace: str, limit: int) -> list[Row]:
    """Jobs whose message was sent as often as is reasonable, and no worker took it."""
    return tx.all(_STUCK, **params(namespace=namespace, limit=limit))


def find_untaken(tx: Transaction, namespace: str, seconds: float, limit: int) -> list[Row]:
    """Jobs that no worker has begun, for so long past the time at which one was to."""
    return tx.all(_UNTAKEN, **params(namespace=namespace, ago=-seconds, limit=limit))
