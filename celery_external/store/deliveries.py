"""What a delivery writes: it takes the row, parks it, and settles or releases what it handed on."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import job

from .database import Row, Statement, Transaction
from .noted import (
    ROW_WITHOUT_BODY,
    after,
    c,
    key,
    mine,
    not_started,
    owed,
    p,
    params,
    running,
    this_attempt,
    unclaimed,
    undecided,
)
from .sql import earliest, now

_overdue = sa.and_(c.state != states.STARTED, sa.or_(c.expires_at <= now(), c.deadline <= now()))
_TAKE = Statement(
    lambda _: (
        sa.update(job)
        .where(
            this_attempt,
            sa.or_(
                sa.and_(
                    undecided,
                    sa.or_(
                        not_started,
                        sa.and_(p("redelivered", sa.Integer()) == 1, c.state == states.STARTED),
                    ),
                    sa.func.coalesce(sa.not_(_overdue), sa.true()),
                ),
                sa.and_(owed, unclaimed),
            ),
        )
        .values(
            state=sa.case((c.kind.is_(None), states.STARTED), else_=c.state),
            claim=p("claim"),
            started_at=sa.case((c.kind.is_(None), now()), else_=c.started_at),
            sends=sa.case((c.kind.is_(None), 0), else_=c.sends),
            due_at=sa.case((c.kind.is_(None), after("trigger_timeout")), else_=c.due_at),
            wake_at=sa.case(
                (c.kind.is_(None), earliest(after("trigger_timeout"), c.deadline)),
                else_=after("lease"),
            ),
        )
        .returning(*ROW_WITHOUT_BODY)
    )
)


def take(
    tx: Transaction,
    *,
    namespace: str,
    job_id: str,
    attempt: int,
    claim: str,
    trigger_timeout: float,
    lease: float,
    is_redelivered: bool = False,
) -> Row | None:
    """A delivery begins: the trigger runs (no ``kind``), or the outcome is handed on.

    A trigger that runs already runs again only where the broker says that it delivers the same
    message once more; a copy that the sweep has sent meanwhile must not start the work twice.
    """
    return tx.one(
        _TAKE,
        p_namespace=namespace,
        p_id=job_id,
        p_attempt=attempt,
        p_claim=claim,
        p_trigger_timeout=trigger_timeout,
        p_lease=lease,
        p_redelivered=int(is_redelivered),
    )


_CLAIM = Statement(
    lambda _: (
        sa.update(job)
        .where(this_attempt, owed, unclaimed)
        .values(claim=p("claim"), wake_at=after("lease"))
        .returning(*ROW_WITHOUT_BODY)
    )
)


def claim_outcome(tx: Transaction, row: Row, claim: str, lease: float) -> Row | None:
    """The trigger's own worker takes the outcome that came while it ran."""
    return tx.one(_CLAIM, **params(**key(row), claim=claim, lease=lease))


# Somebody who moved the deadline before the park has spoken about the timeout as well.
_is_extended = c.deadline.is_distinct_from(p("call_deadline", c.deadline.type))
_due = sa.case((_is_extended, c.deadline), else_=earliest(c.deadline, after("timeout")))
_PARK = Statement(
    lambda _: (
        sa.update(job)
        .where(running)
        .values(
            state=states.PARKED,
            claim=None,
            sends=0,
            parked_at=now(),
            deadline=_due,
            due_at=after("heartbeat_timeout"),
            poll_at=after("poll_interval"),
            poll_interval=p("poll_interval", c.poll_interval.type),
            wake_at=earliest(earliest(_due, after("heartbeat_timeout")), after("poll_interval")),
            body=sa.func.coalesce(p("body", sa.LargeBinary()), c.body),
            trigger_result=p("trigger_result"),
            trigger_result_type=p("trigger_result_type"),
        )
        .returning(*ROW_WITHOUT_BODY)
    )
)


def park(
    tx: Transaction,
    row: Row,
    claim: str,
    *,
    call_deadline: datetime | None,
    timeout: float | None,
    heartbeat_timeout: float | None,
    poll_interval: float | None,
    body: bytes | None,
    trigger_result: bytes | None,
    trigger_result_type: str | None,
) -> Row | None:
    """The trigger returned; from here on the job is only this row."""
    return tx.one(
        _PARK,
        **params(
            **key(row),
            claim=claim,
            call_deadline=call_deadline,
            timeout=timeout,
            heartbeat_timeout=heartbeat_timeout,
            poll_interval=poll_interval,
            body=body,
            trigger_result=trigger_result,
            trigger_result_type=trigger_result_type,
        ),
    )


_SAVE_META = Statement(
    lambda _: sa.update(job).where(running).values(meta=p("meta", c.meta.type)).returning(c.id)
)


def save_meta(tx: Transaction, row: Row, claim: str, meta: Mapping[str, Any]) -> bool:
    """Keep what a running trigger shows of its job."""
    return tx.one(_SAVE_META, **params(**key(row), claim=claim, meta=meta)) is not None


_SAVE_REFERENCE = Statement(
    lambda _: (
        sa.update(job)
        .where(
            sa.or_(
                running,
                # Completed while its trigger ran: what comes by the reference is to be refused
                # as too late, and not to wait for a job.
                sa.and_(
                    this_attempt,
                    c.kind.is_not(None),
                    c.started_at.is_not(None),
                    c.parked_at.is_(None),
                    sa.or_(c.claim.is_(None), mine),
                    c.reference.is_(None),
                ),
            )
        )
        .values(reference=p("reference", c.reference.type))
        .returning(c.id)
    )
)


def save_reference(tx: Transaction, row: Row, claim: str, reference: str) -> bool:
    """Keep what the outside system calls the work that a trigger has begun."""
    return (
        tx.one(_SAVE_REFERENCE, **params(**key(row), claim=claim, reference=reference)) is not None
    )


# --- The end --------------------------------------------------------------------------------------

_SETTLE = Statement(
    lambda _: (
        sa.update(job)
        .where(this_attempt, mine, c.kind.is_not(None))
        .values(claim=None, wake_at=None)
        .returning(c.id)
    )
)


def settle(tx: Transaction, row: Row, claim: str) -> bool:
    """Celery has been told: nothing is owed any more."""
    settled = tx.one(_SETTLE, **params(**key(row), claim=claim))
    return settled is not None


_RENEW = Statement(
    lambda _: sa.update(job).where(this_attempt, owed, mine).values(wake_at=after("lease"))
)


def renew(tx: Transaction, row: Row, claim: str, lease: float) -> None:
    """It takes longer: the claim holds for another lease."""
    tx.all(_RENEW, **params(**key(row), claim=claim, lease=lease))


_RELEASE = Statement(
    lambda _: (
        sa.update(job)
        .where(this_attempt, mine, c.kind.is_not(None))
        .values(claim=None, wake_at=after("wake_in"))
    )
)


def release(tx: Transaction, row: Row, claim: str, wake_in: float) -> None:
    """Celery could not be told: somebody else may try, after a while."""
    tx.all(_RELEASE, **params(**key(row), claim=claim, wake_in=wake_in))
