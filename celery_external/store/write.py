"""What changes a job: one guarded statement each, whose rows say who was first.

The functions are the events of the state table. Each returns the row as it stands after the
event, or None when the guard did not hold: then somebody else was first, and the caller looks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

from celery_external import states
from celery_external.schema import Json, history, job

from .database import Database, Row, Statement, Transaction
from .sql import earliest, is_among, now, seconds_from_now

c = job.c
ROW = list(c)
ROW_WITHOUT_BODY = [column for column in c if column.key != "body"]


def _p(name: str, type_: sa.types.TypeEngine[Any] | None = None) -> sa.BindParameter[Any]:
    return sa.bindparam(f"p_{name}", type_=type_)


def _after(name: str) -> seconds_from_now:
    return seconds_from_now(_p(name, sa.Float()))


_this_job = sa.and_(c.namespace == _p("namespace"), c.id == _p("id"))
_this_attempt = sa.and_(_this_job, c.attempt == _p("attempt"))
_any_or_this_attempt = sa.and_(
    _this_job, sa.or_(_p("attempt", sa.Integer()).is_(None), c.attempt == _p("attempt"))
)
_undecided = c.kind.is_(None)
_owed = sa.and_(c.kind.is_not(None), c.wake_at.is_not(None))
_not_started = sa.or_(c.state == states.PENDING, c.state == states.RETRY)
_unclaimed = sa.or_(c.claim.is_(None), c.wake_at <= now())
_mine = c.claim == _p("claim")


# --- Statements that leave a line in the history --------------------------------------------------


class _Noted:
    """An UPDATE and its history rows: one statement on PostgreSQL, two on SQLite."""

    def __init__(self, update: Any) -> None:
        self._on_postgresql = Statement(lambda _: _with_history(update))
        self._alone = Statement(lambda _: update.returning(*ROW))

    def all(self, tx: Transaction, **values: Any) -> list[Row]:
        noted = {f"p_note_{name}": values.pop(f"note_{name}", None) for name in _NOTE}
        params = {f"p_{name}": value for name, value in values.items()}
        if tx.dialect.name == "postgresql":
            return tx.all(self._on_postgresql, **params, **noted)
        rows = tx.all(self._alone, **params)
        for row in rows:
            tx.all(
                _INSERT_HISTORY,
                **noted,
                p_namespace=row["namespace"],
                p_id=row["id"],
                p_attempt=row["attempt"],
            )
        return rows

    def one(self, tx: Transaction, **values: Any) -> Row | None:
        rows = self.all(tx, **values)
        return rows[0] if rows else None


_NOTE = ("event", "by", "reason", "details")
_HISTORY_COLUMNS = ["namespace", "job_id", "attempt", "event", "by", "reason", "details", "at"]


def _note_values() -> list[Any]:
    return [
        _p("note_event", sa.Text()).label("event"),
        _p("note_by", sa.Text()).label("by"),
        _p("note_reason", sa.Text()).label("reason"),
        _p("note_details", Json()).label("details"),
        now().label("at"),
    ]


def _with_history(update: Any) -> Any:
    moved = update.returning(*ROW).cte("moved")
    lines = sa.select(moved.c.namespace, moved.c.id, moved.c.attempt, *_note_values())
    noted = sa.insert(history).from_select(_HISTORY_COLUMNS, lines).cte("noted")
    return sa.select(moved).add_cte(noted)


_INSERT_HISTORY = Statement(
    lambda _: sa.insert(history).from_select(
        _HISTORY_COLUMNS,
        sa.select(
            _p("namespace", sa.Text()),
            _p("id", sa.Text()),
            _p("attempt", sa.Integer()),
            *_note_values(),
        ),
    )
)


def note(
    tx: Transaction,
    row: Row,
    event: str,
    *,
    by: str | None = None,
    reason: str | None = None,
    details: Mapping[str, Any] | None = None,
) -> None:
    """Write a line into the history of the job that ``row`` shows."""
    tx.all(
        _INSERT_HISTORY,
        p_namespace=row["namespace"],
        p_id=row["id"],
        p_attempt=row["attempt"],
        p_note_event=event,
        p_note_by=by,
        p_note_reason=reason,
        p_note_details=details,
    )


def deciding(database: Database) -> Any:
    """A transaction for one noted statement; on PostgreSQL it is its own."""
    return database.alone() if database.dialect_name == "postgresql" else database.transaction()


# --- apply_async ----------------------------------------------------------------------------------

_COLUMNS_OF_START = (
    "task", "envelope", "body", "shadow", "queue", "root_id", "parent_id", "group_id", "labels",
    "meta", "heartbeat_timeout", "deadline",
)  # fmt: skip


def _insert(dialect: str) -> Any:
    make = postgresql.insert if dialect == "postgresql" else sqlite.insert
    expires_at = sa.func.coalesce(_after("expires_in"), _p("expires_at", c.expires_at.type))
    deadline = _p("deadline", c.deadline.type)
    started = _p("state") == states.STARTED
    return (
        make(job)
        .values(
            namespace=_p("namespace"),
            id=_p("id"),
            state=_p("state"),
            attempt=1,
            sends=0,
            claim=_p("claim"),
            created_at=now(),
            started_at=sa.case((started, now()), else_=None),
            expires_at=expires_at,
            due_at=_after("wake_in"),
            wake_at=earliest(earliest(_after("wake_in"), expires_at), deadline),
            **{name: _p(name, c[name].type) for name in _COLUMNS_OF_START},
        )
        .on_conflict_do_nothing()
        .returning(*ROW_WITHOUT_BODY)
    )


_INSERT = Statement(_insert)


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
    """Add the job as attempt 1; None when the id is taken."""
    return tx.one(
        _INSERT,
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
        .where(_this_attempt, c.state == states.PENDING, c.kind.is_(None), c.started_at.is_(None))
        .returning(c.id)
    )
)


def delete_unsent(tx: Transaction, namespace: str, job_id: str) -> bool:
    """Take back a first attempt whose message the broker refused."""
    return tx.one(_DELETE_UNSENT, p_namespace=namespace, p_id=job_id, p_attempt=1) is not None


_SEND_SOON = Statement(
    lambda _: (
        sa.update(job)
        .where(_this_attempt, _not_started, _undecided)
        .values(due_at=_after("wake_in"), wake_at=earliest(_after("wake_in"), c.deadline))
    )
)


def send_soon(tx: Transaction, namespace: str, job_id: str, attempt: int, wake_in: float) -> None:
    """Have the sweep send a message that its own worker could not send."""
    tx.all(_SEND_SOON, p_namespace=namespace, p_id=job_id, p_attempt=attempt, p_wake_in=wake_in)


_BLANK_ATTEMPT: dict[str, Any] = dict.fromkeys(
    (
        "claim", "kind", "outcome", "outcome_type", "answer", "reason", "completed_by",
        "reference", "progress", "trigger_result", "trigger_result_type",
        "started_at", "parked_at", "completed_at",
    )
)  # fmt: skip

_NEXT_ATTEMPT = _Noted(
    sa.update(job)
    .where(
        _any_or_this_attempt,
        sa.or_(
            sa.and_(_mine, sa.or_(c.kind.is_not(None), c.state == states.STARTED)),
            # The job was replaced by a canvas, and this is the step that carries its id.
            sa.and_(_p("claim", sa.Text()).is_(None), c.kind == states.CONTINUED),
        ),
    )
    .values(
        attempt=c.attempt + 1,
        state=_p("state"),
        sends=0,
        expires_at=sa.func.coalesce(_after("expires_in"), _p("expires_at", c.expires_at.type)),
        due_at=_after("wake_in"),
        wake_at=earliest(
            earliest(
                earliest(_after("wake_in"), _after("expires_in")),
                _p("expires_at", c.expires_at.type),
            ),
            _p("deadline", c.deadline.type),
        ),
        **_BLANK_ATTEMPT,
        **{name: _p(name, c[name].type) for name in _COLUMNS_OF_START if name != "meta"},
        meta=sa.func.coalesce(_p("meta", c.meta.type), c.meta, type_=c.meta.type),
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

    Without ``row`` and ``claim``: the canvas that replaced it has come to the step with its id.
    """
    return _NEXT_ATTEMPT.one(
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
        note_details=_times(row) if row else None,
    )


_RERUN = _Noted(
    sa.update(job)
    .where(
        _this_attempt,
        sa.or_(*(c.state == state for state in (states.PARKED, states.FAILURE, states.REVOKED))),
    )
    .values(
        attempt=c.attempt + 1,
        state=states.PENDING,
        sends=0,
        expires_at=None,
        deadline=_p("deadline", c.deadline.type),
        due_at=_after("wake_in"),
        wake_at=earliest(_after("wake_in"), _p("deadline", c.deadline.type)),
        **_BLANK_ATTEMPT,
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
    """A person has the trigger run again, as the next attempt."""
    return _RERUN.one(
        tx,
        namespace=row["namespace"],
        id=row["id"],
        attempt=row["attempt"],
        deadline=deadline,
        wake_in=wake_in,
        note_event="rerun",
        note_by=by,
        note_reason=reason,
        note_details=_times(row),
    )


def _times(row: Row) -> dict[str, Any]:
    """What the history keeps of an attempt that is over."""
    ended = {
        name: row[name].isoformat() if row[name] else None
        for name in ("started_at", "parked_at", "completed_at")
    }
    return {"attempt": row["attempt"], "reference": row["reference"], **ended}


# --- A delivery -----------------------------------------------------------------------------------

_overdue = sa.and_(c.state != states.STARTED, sa.or_(c.expires_at <= now(), c.deadline <= now()))
_TAKE = Statement(
    lambda _: (
        sa.update(job)
        .where(
            _this_attempt,
            sa.or_(
                sa.and_(
                    _undecided,
                    sa.or_(
                        _not_started,
                        sa.and_(_p("redelivered", sa.Integer()) == 1, c.state == states.STARTED),
                    ),
                    sa.func.coalesce(sa.not_(_overdue), sa.true()),
                ),
                sa.and_(_owed, _unclaimed),
            ),
        )
        .values(
            state=sa.case((c.kind.is_(None), states.STARTED), else_=c.state),
            claim=_p("claim"),
            started_at=sa.case((c.kind.is_(None), now()), else_=c.started_at),
            sends=sa.case((c.kind.is_(None), 0), else_=c.sends),
            due_at=sa.case((c.kind.is_(None), _after("trigger_timeout")), else_=c.due_at),
            wake_at=sa.case(
                (c.kind.is_(None), earliest(_after("trigger_timeout"), c.deadline)),
                else_=_after("lease"),
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
        .where(_this_attempt, _owed, _unclaimed)
        .values(claim=_p("claim"), wake_at=_after("lease"))
        .returning(*ROW_WITHOUT_BODY)
    )
)


def claim_outcome(tx: Transaction, row: Row, claim: str, lease: float) -> Row | None:
    """The trigger's own worker takes the outcome that came while it ran."""
    return tx.one(
        _CLAIM,
        p_namespace=row["namespace"],
        p_id=row["id"],
        p_attempt=row["attempt"],
        p_claim=claim,
        p_lease=lease,
    )


_running = sa.and_(_this_attempt, c.state == states.STARTED, c.kind.is_(None), _mine)
# Somebody who moved the deadline before the park has spoken about the timeout as well.
_is_extended = c.deadline.is_distinct_from(_p("call_deadline", c.deadline.type))
_due = sa.case((_is_extended, c.deadline), else_=earliest(c.deadline, _after("timeout")))
_PARK = Statement(
    lambda _: (
        sa.update(job)
        .where(_running)
        .values(
            state=states.PARKED,
            claim=None,
            sends=0,
            parked_at=now(),
            deadline=_due,
            due_at=_after("heartbeat_timeout"),
            wake_at=earliest(_due, _after("heartbeat_timeout")),
            body=sa.func.coalesce(_p("body", sa.LargeBinary()), c.body),
            trigger_result=_p("trigger_result"),
            trigger_result_type=_p("trigger_result_type"),
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
    body: bytes | None,
    trigger_result: bytes | None,
    trigger_result_type: str | None,
) -> Row | None:
    """The trigger returned; from here on the job is only this row."""
    return tx.one(
        _PARK,
        p_namespace=row["namespace"],
        p_id=row["id"],
        p_attempt=row["attempt"],
        p_claim=claim,
        p_call_deadline=call_deadline,
        p_timeout=timeout,
        p_heartbeat_timeout=heartbeat_timeout,
        p_body=body,
        p_trigger_result=trigger_result,
        p_trigger_result_type=trigger_result_type,
    )


def _save(name: str) -> Statement:
    update = sa.update(job).where(_running).values({name: _p("value", c[name].type)})
    return Statement(lambda _: update.returning(c.id))


_SAVE = {name: _save(name) for name in ("meta", "reference")}


def save(tx: Transaction, row: Row, claim: str, name: str, value: object) -> bool:
    """Keep what a running trigger says of its job (``meta``, ``reference``)."""
    saved = tx.one(
        _SAVE[name],
        p_namespace=row["namespace"],
        p_id=row["id"],
        p_attempt=row["attempt"],
        p_claim=claim,
        p_value=value,
    )
    return saved is not None


# --- Outcomes -------------------------------------------------------------------------------------

_OUTCOME = {
    "kind": _p("kind", sa.Text()),
    "state": _p("state", sa.Text()),
    "outcome": _p("outcome", sa.LargeBinary()),
    "outcome_type": _p("outcome_type", sa.Text()),
    "reason": _p("reason", sa.Text()),
}
_decided: dict[str, Any] = {**_OUTCOME, "completed_at": now(), "sends": 0}
_DECIDE = _Noted(
    sa.update(job)
    .where(_any_or_this_attempt, _undecided)
    .values(**_decided, completed_by=_p("by", sa.Text()), claim=None, wake_at=_after("wake_in"))
)
_DECIDE_OWN = _Noted(
    sa.update(job)
    .where(_running)
    .values(**_decided, completed_by=_p("by", sa.Text()), wake_at=_after("wake_in"))
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
    """Record the outcome of an open job; the first one counts."""
    return _DECIDE.one(
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


def decide_own(
    tx: Transaction, row: Row, claim: str, *, outcome: Mapping[str, Any], lease: float
) -> Row | None:
    """A running trigger ends its own job, and hands the outcome on itself."""
    return _DECIDE_OWN.one(
        tx,
        namespace=row["namespace"],
        id=row["id"],
        attempt=row["attempt"],
        claim=claim,
        by=None,
        wake_in=lease,
        note_event=outcome["kind"],
        note_reason=outcome["reason"],
        **outcome,
    )


_DECIDE_LOST = _Noted(
    sa.update(job)
    .where(_this_attempt, c.state == states.STARTED, _undecided, _mine)
    .values(**_decided, claim=None, wake_at=_after("wake_in"))
)


def decide_lost(
    tx: Transaction, row: Row, outcome: Mapping[str, Any], wake_in: float
) -> Row | None:
    """The process that ran the trigger is gone; nobody else has taken it over since ``row``."""
    return _DECIDE_LOST.one(
        tx,
        namespace=row["namespace"],
        id=row["id"],
        attempt=row["attempt"],
        claim=row["claim"],
        wake_in=wake_in,
        note_event=outcome["kind"],
        note_reason=outcome["reason"],
        **outcome,
    )


_ANSWER = _Noted(
    sa.update(job)
    .where(_this_attempt, _mine, c.kind == states.TIMED_OUT, c.answer.is_(None))
    .values(
        answer=_p("kind", sa.Text()),
        **{name: _OUTCOME[name] for name in ("state", "outcome", "outcome_type", "reason")},
    )
)


def answer_timeout(tx: Transaction, row: Row, claim: str, outcome: Mapping[str, Any]) -> Row | None:
    """Keep what ``timeout_result`` or ``on_timeout`` said, before it is handed on."""
    return _ANSWER.one(
        tx,
        namespace=row["namespace"],
        id=row["id"],
        attempt=row["attempt"],
        claim=claim,
        note_event="timeout_answered",
        note_reason=outcome["reason"],
        note_details={"answer": outcome["kind"]},
        **outcome,
    )


_OVERRULE = _Noted(
    sa.update(job).where(_this_attempt, _mine, c.kind.is_not(None)).values(**_OUTCOME, answer=None)
)


def overrule(tx: Transaction, row: Row, claim: str, outcome: Mapping[str, Any]) -> Row | None:
    """Celery could not take the outcome for good (the next step's serializer refused it)."""
    return _OVERRULE.one(
        tx,
        namespace=row["namespace"],
        id=row["id"],
        attempt=row["attempt"],
        claim=claim,
        note_event="undeliverable",
        note_reason=outcome["reason"],
        **outcome,
    )


_SETTLE = Statement(
    lambda _: (
        sa.update(job)
        .where(_this_attempt, _mine, c.kind.is_not(None))
        .values(claim=None, wake_at=None)
        .returning(c.id)
    )
)


def settle(tx: Transaction, row: Row, claim: str) -> bool:
    """Celery has been told: nothing is owed any more."""
    settled = tx.one(
        _SETTLE,
        p_namespace=row["namespace"],
        p_id=row["id"],
        p_attempt=row["attempt"],
        p_claim=claim,
    )
    return settled is not None


_RELEASE = Statement(
    lambda _: (
        sa.update(job)
        .where(_this_attempt, _mine, c.kind.is_not(None))
        .values(claim=None, wake_at=_after("wake_in"))
    )
)


def release(tx: Transaction, row: Row, claim: str, wake_in: float) -> None:
    """Celery could not be told: somebody else may try, after a while."""
    tx.all(
        _RELEASE,
        p_namespace=row["namespace"],
        p_id=row["id"],
        p_attempt=row["attempt"],
        p_claim=claim,
        p_wake_in=wake_in,
    )


# --- Progress and extension -----------------------------------------------------------------------

_PROGRESS = Statement(
    lambda _: (
        sa.update(job)
        .where(_any_or_this_attempt, _undecided)
        .values(
            progress=_p("progress", c.progress.type),
            due_at=sa.case(
                (c.state == states.PARKED, seconds_from_now(c.heartbeat_timeout)), else_=c.due_at
            ),
            wake_at=sa.case(
                (
                    c.state == states.PARKED,
                    earliest(c.deadline, seconds_from_now(c.heartbeat_timeout)),
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
    _after("timeout"), _p("deadline", c.deadline.type), type_=c.deadline.type
)
_EXTEND = _Noted(
    sa.update(job)
    .where(_any_or_this_attempt, _undecided)
    .values(
        deadline=_new_deadline,
        wake_at=earliest(
            earliest(_new_deadline, c.due_at), sa.case((_not_started, c.expires_at), else_=None)
        ),
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

_these_jobs = sa.and_(c.namespace == _p("namespace"), is_among(c.id, _p("ids", Json())))
_EXPIRE = _Noted(
    sa.update(job)
    .where(_these_jobs, _undecided)
    .values(**_decided, claim=None, wake_at=_after("wake_in"))
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
        .where(_these_jobs)
        .values(
            sends=c.sends + 1,
            claim=None,
            due_at=_after("wake_in"),
            wake_at=earliest(_after("wake_in"), sa.case((_undecided, _until), else_=None)),
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
        .where(_these_jobs, c.sends > 0, c.claim.is_(None), c.wake_at.is_not(None))
        .values(
            sends=c.sends - 1,
            wake_at=earliest(_after("wake_in"), sa.case((_undecided, _until), else_=None)),
        )
    )
)


def take_back_repeat(tx: Transaction, namespace: str, ids: Sequence[str], wake_in: float) -> None:
    """The broker did not take the message: the send does not count, and the next one is soon."""
    tx.all(_TAKE_BACK_REPEAT, p_namespace=namespace, p_ids=list(ids), p_wake_in=wake_in)


_MANY = ("id", "attempt", "kind", "state", "outcome", "outcome_type", "reason")


def _decide_many(_dialect: str) -> Any:
    array = postgresql.ARRAY
    types = [array(sa.Integer if n == "attempt" else sa.LargeBinary if n == "outcome" else sa.Text)
             for n in _MANY]  # fmt: skip
    arrays = [_p(f"many_{n}", type_) for n, type_ in zip(_MANY, types, strict=True)]
    columns = [sa.column(n, type_.item_type) for n, type_ in zip(_MANY, types, strict=True)]
    given = sa.func.unnest(*arrays).table_valued(*columns, name="given").render_derived()
    update = (
        sa.update(job)
        .where(
            c.namespace == _p("namespace"),
            c.id == given.c.id,
            sa.or_(given.c.attempt.is_(None), c.attempt == given.c.attempt),
            _undecided,
        )
        .values(
            **{name: given.c[name] for name in _OUTCOME},
            completed_at=now(),
            sends=0,
            completed_by=_p("by", sa.Text()),
            claim=None,
            wake_at=_after("wake_in"),
        )
    )
    moved = update.returning(*ROW).cte("moved")
    lines = sa.select(
        moved.c.namespace,
        moved.c.id,
        moved.c.attempt,
        moved.c.kind,
        moved.c.completed_by,
        moved.c.reason,
        sa.null(),
        now(),
    )
    noted = sa.insert(history).from_select(_HISTORY_COLUMNS, lines).cte("noted")
    return sa.select(moved).add_cte(noted)


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
        lines = [{"id": job_id, "attempt": attempt, **o} for job_id, attempt, o in outcomes]
        return tx.all(
            _DECIDE_MANY,
            p_namespace=namespace,
            p_by=by,
            p_wake_in=wake_in,
            **{f"p_many_{name}": [line[name] for line in lines] for name in _MANY},
        )
    rows = (
        decide(
            tx, namespace=namespace, job_id=job_id, attempt=attempt, outcome=outcome, by=by,
            wake_in=wake_in,
        )
        for job_id, attempt, outcome in outcomes
    )  # fmt: skip
    return [row for row in rows if row is not None]
