"""``upgrade`` and ``current``: the database's tables."""

from __future__ import annotations

import click

from celery_external import schema
from celery_external.extension import External
from celery_external.installation import installation_of

from .command import Command, pass_external
from .terminal import write


@click.command("upgrade", cls=Command)
@pass_external
def upgrade(external: External, /) -> None:
    """Bring the database's tables up to date.

    Safe to run at any time, and by several at once. Exits with 1 if it cannot be done.
    """
    before = external.current_revision()
    external.upgrade()
    if before == schema.REVISION:
        write(f"{external.database_name} is at {schema.REVISION} already")
    else:
        write(f"{external.database_name}: {before or 'no tables'} -> {schema.REVISION}")


@click.command("current", cls=Command)
@pass_external
def current(external: External, /) -> None:
    """Say which revision the database's tables have.

    Exits with 1 if it is not the one that this version of celery-external needs.
    """
    problem = installation_of(external.app).find_schema_problem()
    if problem is not None:
        raise problem
    write(f"{external.database_name} is at {schema.REVISION}")
