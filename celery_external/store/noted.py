"""Guards, and statements that leave a line in the history: what the other modules share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import Json, history, job

from .database import Row, Statement, Transaction
from .place import Place
from .sql import is_among, now, seconds_from_now

c = job.c
ROW = list(c)
ROW_WITHOUT_BODY = [column for column in c if column.key != "body"]


def p(name: str, type_: sa.types.TypeEngine[Any] | None = None) -> sa.BindParameter[Any]:
    """A parameter; ``p_`` keeps its name apart from the columns'."""
    return sa.bindparam(f"p_{name}", type_=type_)


def params(**values: Any) -> dict[str, Any]:
    """Values under the names that :func:`p` gives them."""
    return {f"p_{name}": value for name, value in values.items()}


def key(row: Row) -> dict[str, Any]:
    """What names the attempt that a row shows."""
    return {name: row[name] for name in ("namespace", "id", "attempt")}


def after(name: str) -> seconds_from_now:
    """So many seconds from now, by the database's clock."""
    return seconds_from_now(p(name, sa.Float()))


this_job = sa.and_(c.namespace == p("namespace"), c.id == p("id"))
#: The lines of its history.
its_history = sa.and_(history.c.namespace == p("namespace"), history.c.job_id == p("id"))
these_jobs = sa.and_(c.namespace == p("namespace"), is_among(c.id, p("ids", Json())))
this_attempt = sa.and_(this_job, c.attempt == p("attempt"))
any_or_this_attempt = sa.and_(
    this_job, sa.or_(p("attempt", sa.Integer()).is_(None), c.attempt == p("attempt"))
)
undecided = c.kind.is_(None)
owed = sa.and_(c.kind.is_not(None), c.wake_at.is_not(None))
not_started = sa.or_(c.state == states.PENDING, c.state == states.RETRY)
unclaimed = sa.or_(c.claim.is_(None), c.wake_at <= now())
mine = c.claim == p("claim")
running = sa.and_(this_attempt, c.state == states.STARTED, undecided, mine)


def next_poll(once_due: sa.ColumnElement[datetime]) -> sa.Case[datetime | None]:
    """When the sweep is to look at a parked job for its poll, and again once that is due."""
    return sa.case((c.poll_at > now(), c.poll_at), (c.poll_at.is_not(None), once_due))


# --- Statements that leave a line in the history --------------------------------------------------


class Noted:
    """An UPDATE and its history rows: one statement on PostgreSQL, two on SQLite.

    It returns ``columns`` of the rows, by default all.
    """

    def __init__(self, update: Callable[[], Any], columns: Sequence[sa.Column[Any]] = ROW) -> None:
        self._on_postgresql = Statement(
            lambda _: add_history(update(), columns, lambda _moved: _note_values())
        )
        self._alone = Statement(lambda _: update().returning(*columns))

    def all(self, tx: Transaction, **values: Any) -> list[Row]:
        """Run it with its ``note_event``, ``note_by`` and so on; returns the rows."""
        line = {f"note_{name}": values.pop(f"note_{name}", None) for name in _NOTE}
        if tx.dialect.name == "postgresql":
            return tx.all(self._on_postgresql, **params(**values, **line))
        rows = tx.all(self._alone, **params(**values))
        for row in rows:
            tx.all(_INSERT_HISTORY, **params(**key(row), **line))
        return rows

    def one(self, tx: Transaction, **values: Any) -> Row | None:
        """Run it and return its only row, if the guard held."""
        rows = self.all(tx, **values)
        return rows[0] if rows else None


_NOTE = ("event", "by", "reason", "details")
HISTORY_COLUMNS = ["namespace", "job_id", "attempt", "event", "by", "reason", "details", "at"]


def _note_values() -> list[Any]:
    return [
        p("note_event", sa.Text()).label("event"),
        p("note_by", sa.Text()).label("by"),
        p("note_reason", sa.Text()).label("reason"),
        p("note_details", Json()).label("details"),
        now().label("at"),
    ]


def add_history(
    update: Any, columns: Sequence[sa.Column[Any]], line: Callable[[sa.CTE], Sequence[Any]]
) -> Any:
    """An UPDATE that returns ``columns``, with a ``line`` in the history for each of its rows."""
    moved = update.returning(*columns).cte("moved")
    lines = sa.select(moved.c.namespace, moved.c.id, moved.c.attempt, *line(moved))
    noted = sa.insert(history).from_select(HISTORY_COLUMNS, lines).cte("noted")
    return sa.select(moved).add_cte(noted)


_INSERT_HISTORY = Statement(
    lambda _: sa.insert(history).from_select(
        HISTORY_COLUMNS,
        sa.select(
            p("namespace", sa.Text()),
            p("id", sa.Text()),
            p("attempt", sa.Integer()),
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
    line = {"note_event": event, "note_by": by, "note_reason": reason, "note_details": details}
    tx.all(_INSERT_HISTORY, **params(**key(row), **line))


def deciding(place: Place) -> AbstractContextManager[Transaction]:
    """A transaction for one noted statement; on PostgreSQL it is its own."""
    return place.alone() if place.dialect_name == "postgresql" else place.transaction()
