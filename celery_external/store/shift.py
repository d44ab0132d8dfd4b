"""The clock, for tests: a job's times move back, as if the database's clock had gone on."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa

from celery_external.schema import UtcDateTime, history, job, kept_signal

from .database import Row, Statement, Transaction
from .noted import c, p, this_job
from .sql import moved_back, now

_NOW = Statement(lambda _: sa.select(now().label("now")))


def read_clock(tx: Transaction) -> datetime:
    """The database's clock."""
    row = tx.one(_NOW)
    assert row is not None  # noqa: S101 - a SELECT without a table has one row
    found: datetime = row["now"]
    return found


def _wanted(namespace: Any, job_id: Any) -> Any:
    every = p("id", sa.Text()).is_(None)
    return sa.and_(namespace == p("namespace"), sa.or_(every, job_id == p("id", sa.Text())))


def _move(table: sa.Table, job_id: sa.Column[Any]) -> Statement:
    # All of them, also those of columns to come.
    times = [column for column in table.c if isinstance(column.type, UtcDateTime)]
    moved = {column.key: moved_back(column, p("seconds", sa.Float())) for column in times}
    wanted = _wanted(table.c.namespace, job_id)
    return Statement(lambda _: sa.update(table).where(wanted).values(**moved))


_MOVES = (
    _move(job, job.c.id),
    _move(history, history.c.job_id),
    _move(kept_signal, kept_signal.c.job_id),
)


def move_back(tx: Transaction, namespace: str, job_id: str | None, seconds: float) -> None:
    """Move every time in the tables back; of one job, or for None of all."""
    for statement in _MOVES:
        tx.all(statement, p_namespace=namespace, p_id=job_id, p_seconds=seconds)


_ENVELOPES = Statement(lambda _: sa.select(c.id, c.envelope).where(_wanted(c.namespace, c.id)))


def read_envelopes(tx: Transaction, namespace: str, job_id: str | None) -> list[Row]:
    """The envelopes of the messages, by id; of one job, or for None of all."""
    return tx.all(_ENVELOPES, p_namespace=namespace, p_id=job_id)


_WRITE_ENVELOPE = Statement(
    lambda _: sa.update(job).where(this_job).values(envelope=p("envelope", c.envelope.type))
)


def write_envelope(tx: Transaction, namespace: str, job_id: str, envelope: str) -> None:
    """Put another envelope in the place of a message's."""
    tx.all(_WRITE_ENVELOPE, p_namespace=namespace, p_id=job_id, p_envelope=envelope)
