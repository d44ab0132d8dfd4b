"""Alembic's entry point: runs on what `celery_external.migrations` hands over, or writes SQL."""

from __future__ import annotations

from alembic import context

from celery_external import indexes, schema

given = context.config.attributes
if context.is_offline_mode():
    context.configure(
        dialect_name=given["dialect_name"],
        output_buffer=given["output"],
        version_table=schema.VERSION_TABLE,
        transactional_ddl=False,
    )
else:
    context.configure(
        connection=given["connection"],
        target_metadata=indexes.metadata,
        version_table=schema.VERSION_TABLE,
        # The caller holds the transaction.
        transactional_ddl=False,
    )
context.run_migrations()
