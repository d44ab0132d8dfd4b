"""``sweep``: what is due, done now."""

from __future__ import annotations

import click

from celery_external.extension import External

from .command import Command, pass_external
from .terminal import write


@click.command("sweep", cls=Command)
@pass_external
def sweep(external: External, /) -> None:
    """Do what is due now: timeouts, lost triggers, messages to send again. For cron."""
    write(f"{external.sweep()} jobs were due")
