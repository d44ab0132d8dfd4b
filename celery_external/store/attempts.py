"""How an attempt begins: a row is made, started anew by its own delivery, or run again.

Each function is an event of the state table. It returns the row as it stands afterwards, or None
when the guard did not hold: then somebody else was first, and the caller looks.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import job

from . import kept, read
from .database import Row, Statement, Transaction
from .filters import is_in
from .noted import (
    ROW_WITHOUT_BODY,
    Noted,
    after,
    any_or_this_attempt,
    c,
    key,
    mine,
    not_started,
    p,
    params,
    this_attempt,
    undecided,
)
from .sql import earliest, now

_COLUMNS_OF_START = (
    "task", "envelope", "body", "shadow", "queue", "root_id", "parent_id", "group_id", "labels",
    "meta", "heartbeat_timeout", "deadline",
)  # fmt: skip


#: What whoever sends the job's message needs of its row.
_TO_SEND = [c.namespace, c.id, c.task, c.attempt, c.kind]


def _insert(dialect: str, columns: Sequence[sa.Column[Any]]) -> Any:
    # Loaded by now; imported above, both would be, whichever is used.
    make = importlib.import_module(f"sqlalchemy.dialects.{dialect}").insert
    expires_at = sa.func.coalesce(after("expires_in"), p("expires_at", c.expires_at.type))
    deadline = p("deadline", c.deadline.type)
    started = p("state") == states.STARTED
    return (
        make(job)
        .values(
            namespace=p("namespace"),
            id=p("id"),
            state=p("state"),
            attempt=1,
            sends=0,
            claim=p("claim"),
            created_at=now(),
            started_at=sa.case((started, now()), else_=None),
            expires_at=expires_at,
            due_at=after("wake_in"),
            wake_at=earliest(earliest(after("wake_in"), expires_at), deadline),
            **{name: p(name, c[name].type) for name in _COLUMNS_OF_START},
        )
        .on_conflict_do_nothing()
        .returning(*columns)
    )


_INSERT_TO_SEND = Statement(partial(_insert, columns=_TO_SEND))
_INSERT_STARTED = Statement(partial(_insert, columns=ROW_WITHOUT_BODY))


def insert_job(
    tx: Transaction,
    *,
    namespace: str,
    job_id: str,
    start: Mapping[str, Any],
    state: str = states.PENDING,
    claim: str | None = None,
    wake_in: float | None,
    expires_in: float | None = None,
    expires_at: datetime | None = None,
) -> Row | None:
    """Add the job as attempt 1; None when the id is taken.

    Returns all of a row that is STARTED but its body, of another what its message's sender needs.
    """
    return tx.one(
        _INSERT_STARTED if state == states.STARTED else _INSERT_TO_SEND,
        p_namespace=namespace,
        p_id=job_id,
        p_state=state,
        p_claim=claim,
        p_wake_in=wake_in,
        p_expires_in=expires_in,
        p_expires_at=expires_at,
        **{f"p_{name}": start[name] for name in _COLUMNS_OF_START},
    )


_DELETE_UNSENT = Statement(
    lambda _: (
        sa.delete(job)
        .where(this_attempt, c.state == states.PENDING, c.kind.is_(None), c.started_at.is_(None))
        .returning(c.id)
    )
)


def delete_unsent(tx: Transaction, namespace: str, job_id: str) -> bool:
    """Take back a first attempt whose message the broker refused."""
    return tx.one(_DELETE_UNSENT, p_namespace=namespace, p_id=job_id, p_attempt=1) is not None


_SET_WAKE = Statement(
    lambda _: (
        sa.update(job)
        .where(this_attempt, not_started, undecided)
        .values(
            due_at=after("wake_in"),
            wake_at=earliest(earliest(after("wake_in"), c.expires_at), c.deadline),
        )
    )
)


def set_wake(tx: Transaction, row: Row, wake_in: float) -> None:
    """When the sweep is to send a message that no worker has taken."""
    tx.all(_SET_WAKE, **params(**key(row), wake_in=wake_in))


_BLANK_ATTEMPT: dict[str, Any] = dict.fromkeys(
    (
        "claim", "kind", "outcome", "outcome_type", "answer", "reason", "completed_by",
        "reference", "progress", "trigger_result", "trigger_result_type",
        "started_at", "parked_at", "completed_at", "poll_at", "poll_interval",
    )
)  # fmt: skip

_NEXT_ATTEMPT = Noted(
    lambda: (
        sa.update(job)
        .where(
            any_or_this_attempt,
            sa.or_(
                sa.and_(mine, sa.or_(c.kind.is_not(None), c.state == states.STARTED)),
                # The job was replaced by a canvas, and this is the step that carries its id.
                sa.and_(
                    p("claim", sa.Text()).is_(None),
                    sa.func.coalesce(c.answer, c.kind) == states.CONTINUED,
                ),
            ),
        )
        .values(
            attempt=c.attempt + 1,
            state=p("state"),
            sends=0,
            expires_at=sa.func.coalesce(after("expires_in"), p("expires_at", c.expires_at.type)),
            due_at=after("wake_in"),
            wake_at=earliest(
                earliest(
                    earliest(after("wake_in"), after("expires_in")),
                    p("expires_at", c.expires_at.type),
                ),
                p("deadline", c.deadline.type),
            ),
            **_BLANK_ATTEMPT,
            **{name: p(name, c[name].type) for name in _COLUMNS_OF_START if name != "meta"},
            meta=sa.func.coalesce(p("meta", c.meta.type), c.meta, type_=c.meta.type),
        )
    )
)


def begin_next_attempt(
    tx: Transaction,
    *,
    namespace: str,
    job_id: str,
    row: Row | None,
    claim: str | None,
    start: Mapping[str, Any],
    state: str,
    wake_in: float | None,
    expires_in: float | None = None,
    expires_at: datetime | None = None,
    event: str,
) -> Row | None:
    """The job's own delivery starts it anew (a retry, a replacement).

    To be called in a transaction. Without ``row`` and ``claim``: the canvas that replaced it has
    come to the step with its id.
    """
    ended = row or read.get(tx, namespace, job_id)
    fresh = _NEXT_ATTEMPT.one(
        tx,
        namespace=namespace,
        id=job_id,
        attempt=row["attempt"] if row else None,
        claim=claim,
        state=state,
        wake_in=wake_in,
        expires_in=expires_in,
        expires_at=expires_at,
        **{name: start[name] for name in _COLUMNS_OF_START},
        note_event=event,
        note_details=_ended(ended) if ended else None,
    )
    if fresh is not None and ended is not None:
        kept.keep_ended(tx, ended, ended["reference"])
    return fresh


# With a deadline that has passed, the new attempt would time out at once.
_deadline_ahead = sa.case(
    (p("deadline", c.deadline.type) > now(), p("deadline", c.deadline.type)), else_=None
)
_RERUN = Noted(
    lambda: (
        sa.update(job)
        .where(this_attempt, is_in(states.RERUN_STATES))
        .values(
            attempt=c.attempt + 1,
            state=states.PENDING,
            sends=0,
            expires_at=None,
            deadline=_deadline_ahead,
            due_at=after("wake_in"),
            wake_at=earliest(after("wake_in"), _deadline_ahead),
            **_BLANK_ATTEMPT,
        )
    )
)


def rerun(
    tx: Transaction,
    row: Row,
    *,
    deadline: datetime | None,
    wake_in: float,
    by: str | None,
    reason: str | None,
) -> Row | None:
    """A person has the trigger run again, as the next attempt; in a transaction."""
    fresh = _RERUN.one(
        tx,
        **key(row),
        deadline=deadline,
        wake_in=wake_in,
        note_event="rerun",
        note_by=by,
        note_reason=reason,
        note_details=_ended(row),
    )
    if fresh is not None:
        kept.keep_ended(tx, row, row["reference"])
    return fresh


def _ended(row: Row) -> dict[str, Any]:
    """What the history keeps of an attempt that is over."""
    times = {
        name: row[name].isoformat() if row[name] else None
        for name in ("started_at", "parked_at", "completed_at")
    }
    return {**{name: row[name] for name in ("attempt", "task", "reference")}, **times}
