"""The tables of jobs, their history and kept signals.

Revision ID: 0001
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables."""
    on_sqlite = op.get_context().dialect.name == "sqlite"
    moment: Any = sa.Text() if on_sqlite else sa.DateTime(timezone=True)
    json: Any = sa.Text() if on_sqlite else postgresql.JSONB()
    op.create_table(
        "celery_external_job",
        sa.Column("namespace", sa.Text, primary_key=True),
        sa.Column("id", sa.Text, primary_key=True),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("state", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("wake_at", moment),
        sa.Column("claim", sa.Text),
        sa.Column("sends", sa.Integer, nullable=False),
        sa.Column("envelope", sa.Text, nullable=False),
        sa.Column("body", sa.LargeBinary, nullable=False),
        sa.Column("kind", sa.Text),
        sa.Column("outcome", sa.LargeBinary),
        sa.Column("outcome_type", sa.Text),
        sa.Column("answer", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("completed_by", sa.Text),
        sa.Column("shadow", sa.Text),
        sa.Column("queue", sa.Text),
        sa.Column("root_id", sa.Text),
        sa.Column("parent_id", sa.Text),
        sa.Column("group_id", sa.Text),
        sa.Column("labels", json, nullable=False),
        sa.Column("meta", json, nullable=False),
        sa.Column("progress", json),
        sa.Column("reference", sa.Text),
        sa.Column("trigger_result", sa.LargeBinary),
        sa.Column("trigger_result_type", sa.Text),
        sa.Column("heartbeat_timeout", sa.Float),
        sa.Column("due_at", moment),
        sa.Column("poll_at", moment),
        sa.Column("poll_interval", sa.Float),
        sa.Column("created_at", moment, nullable=False),
        sa.Column("expires_at", moment),
        sa.Column("deadline", moment),
        sa.Column("started_at", moment),
        sa.Column("parked_at", moment),
        sa.Column("completed_at", moment),
    )
    op.create_table(
        "celery_external_history",
        _number(),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("job_id", sa.Text, nullable=False),
        sa.Column("attempt", sa.Integer, nullable=False),
        sa.Column("event", sa.Text, nullable=False),
        sa.Column("at", moment, nullable=False),
        sa.Column("by", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("details", json),
    )
    op.create_table(
        "celery_external_kept_signal",
        _number(),
        sa.Column("namespace", sa.Text, nullable=False),
        sa.Column("task", sa.Text, nullable=False),
        sa.Column("reference", sa.Text),
        sa.Column("job_id", sa.Text),
        sa.Column("attempt", sa.Integer),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("outcome", sa.LargeBinary),
        sa.Column("outcome_type", sa.Text),
        sa.Column("reason", sa.Text),
        sa.Column("details", json),
        sa.Column("by", sa.Text),
        sa.Column("at", moment, nullable=False),
        sa.Column("wake_at", moment, nullable=False),
        sa.Column("sends", sa.Integer, nullable=False),
    )
    wakes = sa.text("wake_at IS NOT NULL")
    op.create_index(
        "celery_external_job_wake_at",
        "celery_external_job",
        ["namespace", "wake_at"],
        postgresql_where=wakes,
        sqlite_where=wakes,
    )
    op.create_index(
        "celery_external_job_created_at",
        "celery_external_job",
        ["namespace", "created_at", "id"],
    )
    for order in ("parked_at", "completed_at"):
        has_come = sa.text(f"{order} IS NOT NULL")
        op.create_index(
            f"celery_external_job_{order}",
            "celery_external_job",
            ["namespace", order, "id"],
            postgresql_where=has_come,
            sqlite_where=has_come,
        )
    op.create_index("celery_external_job_root_id", "celery_external_job", ["namespace", "root_id"])
    unsettled = sa.text("CASE WHEN (kind IS NULL OR wake_at IS NOT NULL) THEN 1 ELSE 0 END = 1")
    op.create_index(
        "celery_external_job_unsettled",
        "celery_external_job",
        ["namespace", "state", "task", "parked_at", "id", "sends"],
        postgresql_where=unsettled,
        sqlite_where=unsettled,
    )
    if not on_sqlite:
        op.create_index(
            "celery_external_job_labels", "celery_external_job", ["labels"], postgresql_using="gin"
        )
    referenced = sa.text("reference IS NOT NULL")
    op.create_index(
        "celery_external_job_reference",
        "celery_external_job",
        ["namespace", "task", "reference"],
        unique=True,
        postgresql_where=referenced,
        sqlite_where=referenced,
    )
    op.create_index(
        "celery_external_history_job", "celery_external_history", ["namespace", "job_id", "id"]
    )
    op.create_index(
        "celery_external_kept_signal_wake_at",
        "celery_external_kept_signal",
        ["namespace", "wake_at"],
    )
    op.create_index(
        "celery_external_kept_signal_reference",
        "celery_external_kept_signal",
        ["namespace", "task", "reference"],
        postgresql_where=referenced,
        sqlite_where=referenced,
    )
    of_a_job = sa.text("job_id IS NOT NULL")
    op.create_index(
        "celery_external_kept_signal_job",
        "celery_external_kept_signal",
        ["namespace", "job_id"],
        postgresql_where=of_a_job,
        sqlite_where=of_a_job,
    )


def _number() -> sa.Column[int]:
    """The primary key of what is added in order."""
    return sa.Column(
        "id",
        sa.BigInteger().with_variant(sa.Integer, "sqlite"),
        sa.Identity(always=False),
        primary_key=True,
    )
