"""The schema's Alembic migrations, run in one transaction that takes turns with others.

A host that runs its own Alembic calls :func:`upgrade_on` from one of its migrations
(``upgrade_on(op.get_bind())``); our revisions keep to a version table of their own.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from celery_external import schema

if TYPE_CHECKING:
    import sqlalchemy as sa
    from alembic.config import Config

#: For ``pg_advisory_xact_lock``: two upgrades at once take turns.
_LOCK = 0x0CE1E81E


def upgrade(engine: sa.Engine) -> None:
    """Bring the tables up to date; all of it, or nothing."""
    # The engine commits by itself: the transaction is said aloud, which holds SQLite's DDL too.
    with engine.connect() as connection:
        on_sqlite = connection.dialect.name == "sqlite"
        connection.exec_driver_sql("BEGIN IMMEDIATE" if on_sqlite else "BEGIN")
        try:
            if not on_sqlite:
                connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_LOCK})")
            upgrade_on(connection)
        except BaseException:
            connection.exec_driver_sql("ROLLBACK")
            raise
        connection.exec_driver_sql("COMMIT")


def upgrade_on(connection: sa.Connection, revision: str = "head") -> None:
    """Bring the tables up to ``revision`` in the caller's transaction; the caller commits."""
    from alembic import command  # noqa: PLC0415 - only an upgrade needs Alembic

    if not connection.in_transaction():
        # Alembic would begin one of its own, and commit it.
        connection.begin()
    config = alembic_config()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def statements(dialect_name: str, since: str | None, revision: str) -> list[str]:
    """The SQL that brings the tables from one revision (None: no tables) to another."""
    from alembic import command  # noqa: PLC0415 - only an upgrade needs Alembic

    written = _Statements()
    config = alembic_config()
    config.attributes |= {"dialect_name": dialect_name, "output": written}
    command.upgrade(config, f"{since or 'base'}:{revision}", sql=True)
    return written.found


class _Statements:
    """What Alembic writes its SQL to: each statement by itself, comments apart."""

    def __init__(self) -> None:
        self.found: list[str] = []

    def write(self, text: str) -> None:
        statement = text.strip().removesuffix(";")
        if not statement.startswith("--"):
            self.found.append(statement)

    def flush(self) -> None:
        """Nothing is held back."""


def is_known(revision: str) -> bool:
    """Whether this version of the package has the revision."""
    from alembic.script import ScriptDirectory  # noqa: PLC0415 - only an upgrade needs Alembic

    known = ScriptDirectory.from_config(alembic_config()).walk_revisions()
    return revision in {script.revision for script in known}


def alembic_config() -> Config:
    """The Alembic configuration of the package's own migrations."""
    from alembic.config import Config  # noqa: PLC0415 - only an upgrade needs Alembic

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    config.attributes["version_table"] = schema.VERSION_TABLE
    return config
