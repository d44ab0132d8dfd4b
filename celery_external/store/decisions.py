"""Outcomes: one an attempt, decided by one guarded statement; the first one counts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import job

from .database import Row, Statement, Transaction
from .noted import (
    Noted,
    add_history,
    after,
    any_or_this_attempt,
    c,
    key,
    mine,
    p,
    params,
    running,
    this_attempt,
    undecided,
)
from .sql import in_binary, now

OUTCOME = {
    "kind": p("kind", sa.Text()),
    "state": p("state", sa.Text()),
    "outcome": p("outcome", sa.LargeBinary()),
    "outcome_type": p("outcome_type", sa.Text()),
    "reason": p("reason", sa.Text()),
}
decided: dict[str, Any] = {**OUTCOME, "completed_at": now(), "sends": 0}

#: What the others of a row's columns are is known to who decides, or to nobody of interest: each
#: that comes along costs both sides more than the lookup of the row.
DECIDED = [
    c.namespace, c.id, c.task, c.attempt, c.kind, c.envelope, c.body, c.completed_by,
    c.started_at, c.parked_at, c.completed_at,
]  # fmt: skip
_DECIDE = Noted(
    lambda: (
        sa.update(job)
        .where(any_or_this_attempt, undecided)
        .values(**decided, completed_by=p("by", sa.Text()), claim=None, wake_at=after("wake_in"))
    ),
    DECIDED,
)
_DECIDE_OWN = Noted(
    lambda: (
        sa.update(job)
        .where(running)
        .values(**decided, completed_by=p("by", sa.Text()), wake_at=after("wake_in"))
    )
)


def decide(
    tx: Transaction,
    *,
    namespace: str,
    job_id: str,
    attempt: int | None,
    outcome: Mapping[str, Any],
    by: str | None,
    wake_in: float,
) -> Row | None:
    """Record the outcome of an open job; the first one counts.

    Returns the outcome and the DECIDED columns.
    """
    row = _DECIDE.one(
        tx,
        namespace=namespace,
        id=job_id,
        attempt=attempt,
        by=by,
        wake_in=wake_in,
        note_event=outcome["kind"],
        note_by=by,
        note_reason=outcome["reason"],
        **outcome,
    )
    return None if row is None else {**outcome, **row}


def decide_own(
    tx: Transaction, row: Row, claim: str, *, outcome: Mapping[str, Any], lease: float
) -> Row | None:
    """A running trigger ends its own job, and hands the outcome on itself."""
    return _DECIDE_OWN.one(
        tx,
        **key(row),
        claim=claim,
        by=None,
        wake_in=lease,
        note_event=outcome["kind"],
        note_reason=outcome["reason"],
        **outcome,
    )


_DECIDE_LOST = Noted(
    lambda: (
        sa.update(job)
        .where(this_attempt, c.state == states.STARTED, undecided, mine)
        .values(**decided, claim=None, wake_at=after("wake_in"))
    )
)


def decide_lost(
    tx: Transaction, row: Row, outcome: Mapping[str, Any], wake_in: float
) -> Row | None:
    """The process that ran the trigger is gone; nobody else has taken it over since ``row``."""
    return _DECIDE_LOST.one(
        tx,
        **key(row),
        claim=row["claim"],
        wake_in=wake_in,
        note_event=outcome["kind"],
        note_reason=outcome["reason"],
        **outcome,
    )


_ANSWER = Noted(
    lambda: (
        sa.update(job)
        .where(this_attempt, mine, c.kind == states.TIMED_OUT, c.answer.is_(None))
        .values(
            answer=p("kind", sa.Text()),
            **{name: OUTCOME[name] for name in ("state", "outcome", "outcome_type", "reason")},
        )
    )
)


def answer_timeout(tx: Transaction, row: Row, claim: str, outcome: Mapping[str, Any]) -> Row | None:
    """Keep what ``timeout_result`` or ``on_timeout`` said, before it is handed on."""
    return _ANSWER.one(
        tx,
        **key(row),
        claim=claim,
        note_event="timeout_answered",
        note_reason=outcome["reason"],
        note_details={"answer": outcome["kind"]},
        **outcome,
    )


_SETTLE_CONTINUED = Statement(
    lambda _: (
        sa.update(job)
        .where(this_attempt, c.kind == states.CONTINUED, c.claim.is_(None))
        .values(wake_at=None)
    )
)


def settle_continued(tx: Transaction, row: Row) -> None:
    """The steps that take the job's place are started; the last of them has its id."""
    tx.all(_SETTLE_CONTINUED, **params(**key(row)))


_OVERRULE = Noted(
    lambda: (
        sa.update(job).where(this_attempt, mine, c.kind.is_not(None)).values(**OUTCOME, answer=None)
    )
)


def overrule(tx: Transaction, row: Row, claim: str, outcome: Mapping[str, Any]) -> Row | None:
    """Celery could not take the outcome for good (the next step's serializer refused it)."""
    return _OVERRULE.one(
        tx,
        **key(row),
        claim=claim,
        note_event="undeliverable",
        note_reason=outcome["reason"],
        **outcome,
    )


# --- Many at once ---------------------------------------------------------------------------------

_MANY = ("id", "attempt", *OUTCOME)
_TYPES = {"attempt": sa.Integer, "outcome": sa.LargeBinary}


def _decide_many(_dialect: str) -> Any:
    types: list[Any] = [sa.ARRAY(_TYPES.get(name, sa.Text)) for name in _MANY]
    arrays = [sa.cast(in_binary(p(f"many_{n}")), t) for n, t in zip(_MANY, types, strict=True)]
    columns = [sa.column(n, type_.item_type) for n, type_ in zip(_MANY, types, strict=True)]
    each = sa.func.unnest(*arrays).table_valued(*columns, name="each").render_derived()
    # The namespace stands beside each id, where the planner does not see that it is always the
    # same: without statistics it would rather read the whole namespace, for each of the ids.
    namespace = p("namespace", sa.Text()).label("namespace")
    given = sa.select(namespace, *each.c).cte("given").prefix_with("MATERIALIZED")
    update = (
        sa.update(job)
        .where(
            c.namespace == given.c.namespace,
            c.id == given.c.id,
            sa.or_(given.c.attempt.is_(None), c.attempt == given.c.attempt),
            undecided,
        )
        .values(
            **{**decided, **{name: given.c[name] for name in OUTCOME}},
            completed_by=p("by", sa.Text()),
            claim=None,
            wake_at=after("wake_in"),
        )
    )
    return add_history(
        update,
        [*DECIDED, c.reason],
        lambda moved: [moved.c.kind, moved.c.completed_by, moved.c.reason, sa.null(), now()],
    )


_DECIDE_MANY = Statement(_decide_many)


def decide_many(
    tx: Transaction,
    *,
    namespace: str,
    outcomes: Sequence[tuple[str, int | None, Mapping[str, Any]]],
    by: str | None,
    wake_in: float,
) -> list[Row]:
    """:func:`decide` for many jobs, each named once: one statement on PostgreSQL."""
    if tx.dialect.name == "postgresql":
        given = {
            "id": [job_id for job_id, _, _ in outcomes],
            "attempt": [attempt for _, attempt, _ in outcomes],
            **{name: [columns[name] for _, _, columns in outcomes] for name in OUTCOME},
        }
        many = {f"many_{name}": values for name, values in given.items()}
        return tx.all(_DECIDE_MANY, **params(namespace=namespace, by=by, wake_in=wake_in, **many))
    rows = (
        decide(
            tx, namespace=namespace, job_id=job_id, attempt=attempt, outcome=outcome, by=by,
            wake_in=wake_in,
        )
        for job_id, attempt, outcome in outcomes
    )  # fmt: skip
    return [row for row in rows if row is not None]
