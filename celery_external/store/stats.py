"""Figures about all jobs: what is parked, by task and label, and how jobs ended."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import UNSETTLED, UtcDateTime

from .database import Row, Statement, Transaction
from .noted import c, p, params
from .sql import each_text, moved_back, now

#: Tasks that are told apart.
MAX_TASKS = 500
#: Labels that are told apart in the parked jobs of one task.
MAX_LABELS = 1000

_parked = sa.and_(c.namespace == p("namespace"), c.state == states.PARKED, UNSETTLED)
_NOW = Statement(lambda _: sa.select(now().label("now")))


def read_clock(tx: Transaction) -> datetime:
    """The database's clock."""
    moment: datetime = tx.all(_NOW)[0]["now"]
    return moment


def _build_tasks(_dialect: str) -> Any:
    # From one task to the next by the index, however many jobs each has.
    first = sa.select(sa.func.min(c.task).label("task")).where(_parked)
    names = first.cte("names", recursive=True)
    following = sa.select(sa.func.min(c.task)).where(_parked, c.task > names.c.task)
    names = names.union_all(
        sa.select(following.correlate(names).scalar_subquery()).where(names.c.task.is_not(None))
    )
    oldest = sa.select(sa.func.min(c.parked_at, type_=UtcDateTime())).where(
        _parked, c.task == names.c.task
    )
    return (
        sa.select(names.c.task, oldest.correlate(names).scalar_subquery().label("oldest"))
        .where(names.c.task.is_not(None))
        .limit(p("limit", sa.Integer()))
    )


_TASKS = Statement(_build_tasks)


def find_parked_tasks(tx: Transaction, namespace: str) -> list[Row]:
    """The tasks that have parked jobs, each with the time of the oldest one."""
    return tx.all(_TASKS, p_namespace=namespace, p_limit=MAX_TASKS)


def _build_labels(dialect: str) -> Any:
    sample = (
        sa.select(c.labels)
        .where(_parked, c.task == p("task"))
        .order_by(c.parked_at)
        .limit(p("limit", sa.Integer()))
        .subquery()
    )
    each = each_text(dialect, sample.c.labels)
    number = sa.func.count().label("number")
    return (
        sa.select(each.c.value.label("label"), number)
        .select_from(sample.join(each, sa.true()))
        .group_by(each.c.value)
        .order_by(number.desc())
        .limit(p("most", sa.Integer()))
    )


_LABELS = Statement(_build_labels)


def count_labels(tx: Transaction, namespace: str, task: str, limit: int) -> dict[str, int]:
    """How often each label is there in so many parked jobs of a task."""
    rows = tx.all(_LABELS, p_namespace=namespace, p_task=task, p_limit=limit, p_most=MAX_LABELS)
    return {row["label"]: row["number"] for row in rows}


# --- How jobs ended -------------------------------------------------------------------------------

#: Upper bounds of waiting times, in seconds.
BOUNDS = (1.0, 10.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 86400.0, 7 * 86400.0)


def _build_outcomes(_dialect: str) -> Any:
    waited = sa.case(
        (c.parked_at.is_(None), -1),
        *(
            (moved_back(c.completed_at, sa.literal_column(str(bound))) <= c.parked_at, number)
            for number, bound in enumerate(BOUNDS)
        ),
        else_=len(BOUNDS),
    )
    some = (
        sa.select(c.kind, waited.label("waited"))
        .where(
            c.namespace == p("namespace"),
            c.completed_at >= p("since", UtcDateTime()),
            c.completed_at < p("until", UtcDateTime()),
        )
        .limit(p("limit", sa.Integer()))
        .subquery()
    )
    return sa.select(some.c.kind, some.c.waited, sa.func.count().label("number")).group_by(
        some.c.kind, some.c.waited
    )


_OUTCOMES = Statement(_build_outcomes)


def count_outcomes(
    tx: Transaction, namespace: str, since: datetime, until: datetime, limit: int
) -> list[Row]:
    """Kinds and waiting times (a number of BOUNDS; -1: not parked) of so many ended jobs."""
    return tx.all(_OUTCOMES, **params(namespace=namespace, since=since, until=until, limit=limit))
