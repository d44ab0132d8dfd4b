"""A Django migration that executes the SQL of one of our Alembic revisions."""

from __future__ import annotations

from typing import Any

from celery import current_app
from django.db.migrations.operations.base import Operation

from celery_external import migrations
from celery_external.installation import installation_of

from .database import alias_in, home_on


class UpgradeTables(Operation):  # type: ignore[misc]  # Django has no types
    """Bring the jobs' tables from one revision (None: no tables) to the next.

    Only on the database that has the jobs, whatever ``--database`` is migrated.
    """

    reversible = False

    def __init__(self, since: str | None, revision: str) -> None:
        self.since = since
        self.revision = revision

    def state_forwards(self, app_label: str, state: Any) -> None:
        """There are no models."""

    def database_forwards(
        self,
        app_label: str,  # noqa: ARG002 - Django's signature
        schema_editor: Any,
        from_state: Any,  # noqa: ARG002
        to_state: Any,  # noqa: ARG002
    ) -> None:
        """Execute the SQL, or show it (``sqlmigrate``)."""
        connection = schema_editor.connection
        if connection.alias != _alias_of_jobs():
            return
        if not schema_editor.collect_sql:
            found = home_on(connection.alias).read_revision()
            if found is not None and found != self.since:
                # `celery external upgrade` was here before.
                return
        for statement in migrations.statements(connection.vendor, self.since, self.revision):
            schema_editor.execute(statement)

    def describe(self) -> str:
        """For ``manage.py migrate --plan``."""
        return f"Bring celery-external's tables to {self.revision}"


def _alias_of_jobs() -> str:
    # A URL of another kind may lead to the same database: by Django's custom to the default one.
    return alias_in(installation_of(current_app).settings.database_url) or "default"
