"""Signals that wait: for a job with their reference, or to be told to a job's task."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa

from celery_external.schema import kept_signal

from .database import Row, Statement, Transaction
from .noted import after, p, params
from .sql import now, seconds_from_now

k = kept_signal.c
#: The kind of a line that is no signal: it says whose reference this was.
ENDED = "ended"
#: Seconds for which that is known: a month.
ENDED_LIFETIME = 30 * 86400.0
_VALUES = ("task", "reference", "job_id", "attempt", "kind", "outcome", "outcome_type", "reason",
           "details", "by")  # fmt: skip

_KEEP = Statement(
    lambda _: (
        sa.insert(kept_signal)
        .values(
            namespace=p("namespace"),
            at=now(),
            wake_at=after("wake_in"),
            sends=0,
            **{name: p(name, k[name].type) for name in _VALUES},
        )
        .returning(k.id)
    )
)


def keep(tx: Transaction, namespace: str, signal: Mapping[str, Any], wake_in: float) -> int:
    """Add a signal; returns its number."""
    values = {name: signal.get(name) for name in _VALUES}
    row = tx.all(_KEEP, **params(namespace=namespace, wake_in=wake_in, **values))[0]
    number: int = row["id"]
    return number


_by_reference = sa.and_(
    k.namespace == p("namespace"), k.task == p("task"), k.reference == p("reference")
)
_waiting = sa.and_(_by_reference, k.kind != ENDED)
_IS_WAITING = Statement(lambda _: sa.select(sa.exists().where(_waiting).label("is_waiting")))


def is_waiting(tx: Transaction, namespace: str, task: str, reference: str) -> bool:
    """Whether there are signals for a reference."""
    row = tx.one(_IS_WAITING, p_namespace=namespace, p_task=task, p_reference=reference)
    return bool(row and row["is_waiting"])


_TAKE_ALL = Statement(lambda _: sa.delete(kept_signal).where(_waiting).returning(*k))


def take_all(tx: Transaction, namespace: str, task: str, reference: str) -> list[Row]:
    """The signals for a reference, oldest first; nobody else has them."""
    rows = tx.all(_TAKE_ALL, p_namespace=namespace, p_task=task, p_reference=reference)
    return sorted(rows, key=lambda row: row["id"])


_FIND_ENDED = Statement(
    lambda _: (
        sa.select(k.job_id, k.attempt)
        .where(_by_reference, k.kind == ENDED)
        .order_by(k.id.desc())
        .limit(1)
    )
)


def keep_ended(tx: Transaction, row: Row, reference: str | None) -> None:
    """Remember a reference of the attempt that ``row`` shows; its job does not carry it any more.

    What is said by it later is for that attempt, and no other.
    """
    if reference is not None:
        line = {"task": row["task"], "reference": reference, "job_id": row["id"],
                "attempt": row["attempt"], "kind": ENDED}  # fmt: skip
        keep(tx, row["namespace"], line, ENDED_LIFETIME)


def find_ended(tx: Transaction, namespace: str, task: str, reference: str) -> Row | None:
    """Job and attempt of a reference that the job does not carry any more."""
    return tx.one(_FIND_ENDED, p_namespace=namespace, p_task=task, p_reference=reference)


_this_one = sa.and_(k.namespace == p("namespace"), k.id == p("id"))
_CLAIM = Statement(
    lambda _: (
        sa.update(kept_signal)
        .where(_this_one, k.sends == p("sends"))
        .values(sends=k.sends + 1, wake_at=after("wake_in"))
        .returning(*k)
    )
)


def claim(tx: Transaction, namespace: str, number: int, sends: int, wake_in: float) -> Row | None:
    """One signal, for whoever knows how often it was sent, and for nobody a second time.

    The sweep leaves it alone for so many seconds.
    """
    return tx.one(_CLAIM, p_namespace=namespace, p_id=number, p_sends=sends, p_wake_in=wake_in)


_DROP = Statement(lambda _: sa.delete(kept_signal).where(_this_one))


def drop(tx: Transaction, namespace: str, number: int) -> None:
    """It was told, or has waited for long enough."""
    tx.all(_DROP, p_namespace=namespace, p_id=number)


_DUE = Statement(
    lambda _: (
        sa.select(*k, (k.at <= seconds_from_now(p("ago", sa.Float()))).label("is_old"))
        .where(k.namespace == p("namespace"), k.wake_at <= sa.select(now()).scalar_subquery())
        .order_by(k.wake_at)
        .limit(p("limit", sa.Integer()))
        .with_for_update(skip_locked=True)
    )
)


def lock_due(tx: Transaction, namespace: str, lifetime: float, limit: int) -> list[Row]:
    """Signals that are to be looked at; ``is_old`` says which have waited for ``lifetime``."""
    return tx.all(_DUE, p_namespace=namespace, p_ago=-lifetime, p_limit=limit)
