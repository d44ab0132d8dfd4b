"""``celery -A proj external …``."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click
from celery.bin.base import CeleryCommand, handle_preload_options

from . import schema
from .errors import ExternalError
from .extension import External, get_external

if TYPE_CHECKING:
    from celery import Celery


@click.group(name="external")
def external() -> None:
    """Parked jobs of celery-external, and the database they are in."""


@external.command(cls=CeleryCommand)
@click.pass_context
@handle_preload_options
def upgrade(ctx: click.Context) -> None:
    """Bring the database's tables up to date.

    Safe to run at any time, and by several at once. Exits with 1 if it cannot be done.
    """
    found = _external_of(ctx)
    try:
        before = found.current_revision()
        found.upgrade()
    except ExternalError as exc:
        raise click.ClickException(str(exc)) from exc
    if before == schema.REVISION:
        click.echo(f"{found.database_name} is at {schema.REVISION} already")
    else:
        click.echo(f"{found.database_name}: {before or 'no tables'} -> {schema.REVISION}")


@external.command(cls=CeleryCommand)
@click.pass_context
@handle_preload_options
def sweep(ctx: click.Context) -> None:
    """Do what is due now: timeouts, lost triggers, messages to send again. For cron."""
    found = _external_of(ctx)
    try:
        count = found.sweep()
    except ExternalError as exc:
        raise click.ClickException(str(exc)) from exc
    click.echo(f"{count} jobs were due")


def _external_of(ctx: click.Context) -> External:
    app: Celery = ctx.obj.app
    # As in a worker: receivers of our signals are there, and Django is set up.
    app.loader.import_default_modules()
    try:
        return get_external(app)
    except ExternalError as exc:
        raise click.ClickException(str(exc)) from exc
