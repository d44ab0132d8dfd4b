"""Alembic's entry point: runs on the connection that `celery_external.migrations` hands over."""

from __future__ import annotations

from alembic import context

from celery_external import schema

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=schema.metadata,
    version_table=schema.VERSION_TABLE,
    # The caller holds the transaction.
    transactional_ddl=False,
)
context.run_migrations()
