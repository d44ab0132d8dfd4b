"""``celery -A proj external …``, by the entry point ``celery.commands``."""

from __future__ import annotations

from typing import Any

import click
from celery.bin.base import handle_preload_options

from .dashboard import dashboard
from .database import current, upgrade
from .doctor import doctor
from .export import export
from .figures import stats
from .list_jobs import list_jobs
from .purge import purge
from .show_job import show_job
from .steer import cancel, extend, fail, rerun, succeed
from .sweep import sweep


@click.group(name="external")
@click.pass_context
@handle_preload_options
def external(ctx: click.Context, **_options: Any) -> None:
    """Parked jobs of celery-external: look at them, decide them, keep their database.

    Exits with 0 when all was done, 1 when something was refused or failed (a line each on stderr),
    2 when the command itself was not understood.
    """


for _command in (
    cancel,
    current,
    dashboard,
    doctor,
    export,
    extend,
    fail,
    list_jobs,
    purge,
    rerun,
    show_job,
    stats,
    succeed,
    sweep,
    upgrade,
):
    external.add_command(_command)
