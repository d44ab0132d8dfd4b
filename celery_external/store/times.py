"""What time does to a job: progress and extensions before its limits, the sweep after them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import job

from .database import Row, Statement, Transaction
from .decisions import decided
from .noted import (
    ROW,
    ROW_WITHOUT_BODY,
    Noted,
    after,
    any_or_this_attempt,
    c,
    next_poll,
    not_started,
    p,
    these_jobs,
    undecided,
)
from .sql import earliest, seconds_from_now

_PROGRESS = Statement(
    lambda _: (
        sa.update(job)
        .where(any_or_this_attempt, undecided)
        .values(
            progress=p("progress", c.progress.type),
            due_at=sa.case(
                (c.state == states.PARKED, seconds_from_now(c.heartbeat_timeout)), else_=c.due_at
            ),
            wake_at=sa.case(
                (
                    c.state == states.PARKED,
                    earliest(
                        earliest(c.deadline, seconds_from_now(c.heartbeat_timeout)),
                        next_poll(c.wake_at),
                    ),
                ),
                else_=c.wake_at,
            ),
        )
        .returning(*ROW_WITHOUT_BODY)
    )
)


def record_progress(
    tx: Transaction,
    *,
    namespace: str,
    job_id: str,
    attempt: int | None,
    progress: Mapping[str, Any],
) -> Row | None:
    """Keep how far the work is; of a parked job it is also the heartbeat."""
    return tx.one(
        _PROGRESS, p_namespace=namespace, p_id=job_id, p_attempt=attempt, p_progress=progress
    )


_new_deadline = sa.func.coalesce(
    after("timeout"), p("deadline", c.deadline.type), type_=c.deadline.type
)
_EXTEND = Noted(
    lambda: (
        sa.update(job)
        .where(any_or_this_attempt, undecided)
        .values(
            deadline=_new_deadline,
            wake_at=earliest(
                earliest(earliest(_new_deadline, c.due_at), next_poll(c.wake_at)),
                sa.case((not_started, c.expires_at), else_=None),
            ),
        )
    )
)


def extend(
    tx: Transaction,
    *,
    namespace: str,
    job_id: str,
    attempt: int | None,
    timeout: float | None,
    deadline: datetime | None,
    by: str | None,
    reason: str | None,
) -> Row | None:
    """Move the deadline of an open job."""
    return _EXTEND.one(
        tx,
        namespace=namespace,
        id=job_id,
        attempt=attempt,
        timeout=timeout,
        deadline=deadline,
        note_event="extended",
        note_by=by,
        note_reason=reason,
    )


# --- The sweep's bulk statements ------------------------------------------------------------------

_EXPIRE = Noted(
    lambda: (
        sa.update(job)
        .where(these_jobs, undecided)
        .values(**decided, claim=None, wake_at=after("wake_in"))
    )
)


def expire(
    tx: Transaction, namespace: str, ids: Sequence[str], outcome: Mapping[str, Any], wake_in: float
) -> list[Row]:
    """Decide jobs whose time is over, all with the same outcome."""
    return _EXPIRE.all(
        tx,
        namespace=namespace,
        ids=list(ids),
        wake_in=wake_in,
        note_event=outcome["kind"],
        note_reason=outcome["reason"],
        **outcome,
    )


_until = earliest(c.deadline, c.expires_at)
_REPEAT = Statement(
    lambda _: (
        sa.update(job)
        .where(these_jobs)
        .values(
            sends=c.sends + 1,
            claim=None,
            due_at=after("wake_in"),
            wake_at=earliest(after("wake_in"), sa.case((undecided, _until), else_=None)),
        )
        .returning(*ROW)
    )
)


def repeat(tx: Transaction, namespace: str, ids: Sequence[str], wake_in: float | None) -> list[Row]:
    """Count one more send; None: it was the last one."""
    return tx.all(_REPEAT, p_namespace=namespace, p_ids=list(ids), p_wake_in=wake_in)


_TAKE_BACK_REPEAT = Statement(
    lambda _: (
        sa.update(job)
        .where(these_jobs, c.sends > 0, c.claim.is_(None), c.wake_at.is_not(None))
        .values(
            sends=c.sends - 1,
            wake_at=earliest(after("wake_in"), sa.case((undecided, _until), else_=None)),
        )
    )
)


def take_back_repeat(tx: Transaction, namespace: str, ids: Sequence[str], wake_in: float) -> None:
    """The broker did not take the message: the send does not count, and the next one is soon."""
    tx.all(_TAKE_BACK_REPEAT, p_namespace=namespace, p_ids=list(ids), p_wake_in=wake_in)
