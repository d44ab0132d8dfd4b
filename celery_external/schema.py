"""The tables; the columns of the first say what the row decides."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.types import TypeDecorator

#: The Alembic revision this code is written for; checked before the first statement.
REVISION: Final = "0001"
VERSION_TABLE: Final = "celery_external_version"


class UtcDateTime(TypeDecorator[datetime]):
    """Aware UTC datetimes: timestamptz on PostgreSQL, ``2026-01-31 12:00:00.000000`` on SQLite."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The column's type."""
        if dialect.name == "sqlite":
            return dialect.type_descriptor(sa.Text())
        return dialect.type_descriptor(sa.DateTime(timezone=True))

    def process_bind_param(self, value: datetime | None, dialect: sa.Dialect) -> Any:
        """On the way in."""
        if value is None or dialect.name != "sqlite":
            return value
        return value.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")

    def process_result_value(self, value: Any, dialect: sa.Dialect) -> datetime | None:  # noqa: ARG002
        """On the way out."""
        if value is None:
            return None
        if isinstance(value, str):
            return datetime.fromisoformat(value).replace(tzinfo=UTC)
        moment: datetime = value
        return moment.astimezone(UTC)


class Json(TypeDecorator[Any]):
    """JSON that arrives decoded whatever the driver makes of it: jsonb, or text on SQLite."""

    impl = sa.Text
    cache_ok = True

    def load_dialect_impl(self, dialect: sa.Dialect) -> sa.types.TypeEngine[Any]:
        """The column's type."""
        if dialect.name == "postgresql":
            # Loaded by now; imported above, it would be loaded for SQLite as well.
            from sqlalchemy.dialects.postgresql import JSONB  # noqa: PLC0415

            return dialect.type_descriptor(JSONB(none_as_null=True))
        return dialect.type_descriptor(sa.Text())

    def bind_processor(self, dialect: sa.Dialect) -> Any:  # noqa: ARG002
        """On the way in."""
        return lambda value: None if value is None else json.dumps(value, ensure_ascii=False)

    def result_processor(self, dialect: sa.Dialect, coltype: object) -> Any:  # noqa: ARG002
        """On the way out."""
        return lambda value: json.loads(value) if isinstance(value, str) else value


metadata = sa.MetaData()

job = sa.Table(
    "celery_external_job",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    # When the sweep must look at the row again; NULL: never.
    sa.Column("wake_at", UtcDateTime),
    # Who runs the trigger (STARTED) or hands the outcome on (owed).
    sa.Column("claim", sa.Text),
    # How often the message was sent again since the last event.
    sa.Column("sends", sa.Integer, nullable=False),
    # The message: `envelope` is headers, properties and route, `body` the serialized payload.
    sa.Column("envelope", sa.Text, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    # The outcome: its kind, and its payload as kombu serialized it.
    sa.Column("kind", sa.Text),
    sa.Column("outcome", sa.LargeBinary),
    sa.Column("outcome_type", sa.Text),
    # The kind that a timeout was answered with (`timeout_result`, `on_timeout`).
    sa.Column("answer", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("completed_by", sa.Text),
    # What people filter by and look at.
    sa.Column("shadow", sa.Text),
    sa.Column("queue", sa.Text),
    sa.Column("root_id", sa.Text),
    sa.Column("parent_id", sa.Text),
    sa.Column("group_id", sa.Text),
    sa.Column("labels", Json, nullable=False),
    sa.Column("meta", Json, nullable=False),
    sa.Column("progress", Json),
    sa.Column("reference", sa.Text),
    sa.Column("trigger_result", sa.LargeBinary),
    sa.Column("trigger_result_type", sa.Text),
    # Seconds a parked job may go without a progress signal.
    sa.Column("heartbeat_timeout", sa.Float),
    # When the state is over by itself: no worker, no end of the trigger, no heartbeat. `wake_at`
    # is this or the deadline, whichever is earlier; kept apart so that a deadline can be moved.
    sa.Column("due_at", UtcDateTime),
    # When its task is to ask for it while it is parked, and the seconds until it asks again.
    sa.Column("poll_at", UtcDateTime),
    sa.Column("poll_interval", sa.Float),
    sa.Column("created_at", UtcDateTime, nullable=False),
    sa.Column("expires_at", UtcDateTime),
    sa.Column("deadline", UtcDateTime),
    sa.Column("started_at", UtcDateTime),
    sa.Column("parked_at", UtcDateTime),
    sa.Column("completed_at", UtcDateTime),
)


def _number() -> sa.Column[int]:
    """The primary key of what is added in order."""
    return sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        sa.Identity(always=False),
        primary_key=True,
    )


history = sa.Table(
    "celery_external_history",
    metadata,
    _number(),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("job_id", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("at", UtcDateTime, nullable=False),
    sa.Column("by", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("details", Json),
)

# A signal that waits: for a job that carries its reference, or, if it came too late for its job,
# to be told to the job's task.
kept_signal = sa.Table(
    "celery_external_kept_signal",
    metadata,
    _number(),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("task", sa.Text, nullable=False),
    sa.Column("reference", sa.Text),
    sa.Column("job_id", sa.Text),
    sa.Column("attempt", sa.Integer),
    # As of a job: the kind of outcome (or progress, which has details in place of an outcome).
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("outcome", sa.LargeBinary),
    sa.Column("outcome_type", sa.Text),
    sa.Column("reason", sa.Text),
    sa.Column("details", Json),
    sa.Column("by", sa.Text),
    sa.Column("at", UtcDateTime, nullable=False),
    # When the sweep must look at it, and how often it was sent.
    sa.Column("wake_at", UtcDateTime, nullable=False),
    sa.Column("sends", sa.Integer, nullable=False),
)

_c = job.c
# What is open or owed, for those who count it, by an index of its own. Said in words that only they
# use: where the planner believes a state to be rare, it would take that index for statements that
# have the job's id. And of these words it believes that they hold for few.
_one, _none = (sa.literal_column(digit, sa.Integer()) for digit in "10")
UNSETTLED: Final = (
    sa.case((sa.or_(_c.kind.is_(None), _c.wake_at.is_not(None)), _one), else_=_none) == _one
)
