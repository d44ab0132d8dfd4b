"""``purge``: settled jobs that are old enough go."""

from __future__ import annotations

from datetime import timedelta

import click

from celery_external import states
from celery_external.extension import External
from celery_external.installation import installation_of
from celery_external.overview import read_clock

from .command import Command, pass_external
from .selection import confirm
from .terminal import progress, write
from .texts import number_of, span_text
from .values import Span

#: Jobs that go between two steps of the progress bar.
BATCH = 1000


@click.command("purge", cls=Command)
@click.option(
    "--older-than",
    type=Span(),
    help="Only jobs whose outcome is so old.  [default: the setting external_retention]",
)
@click.option(
    "--state",
    type=click.Choice(sorted(states.TERMINAL_STATES), case_sensitive=False),
    metavar="STATE",
    help="Only jobs in this state: SUCCESS, FAILURE or REVOKED.",
)
@click.option("--task", metavar="TEXT", help="Only jobs of the task with this name.")
@click.option(
    "--keep-history/--drop-history",
    default=None,
    help="Whether their history stays in the database.  [default: drop it, unless the setting "
    "external_purge_history is False]",
)
@click.option("--dry-run", "is_dry", is_flag=True, help="Only say how many jobs would go.")
@click.option("--yes", "-y", "is_sure", is_flag=True, help="Do not ask; needed without a terminal.")
@pass_external
def purge(
    external: External,
    /,
    *,
    older_than: timedelta | None,
    state: str | None,
    task: str | None,
    keep_history: bool | None,
    is_dry: bool,
    is_sure: bool,
) -> None:
    """Delete settled jobs now. The sweep does it by external_retention.

    A job that is open, or whose outcome Celery has not been told, stays.
    """
    age = older_than if older_than is not None else _retention(external)
    before = read_clock(installation_of(external.app)) - age
    count = external.count_jobs(settled=True, completed_before=before, state=state, task=task)
    # Some may have to stay; who purges looks at each.
    noun = "job" if count.number == 1 else "jobs"
    what = f"up to {count} settled {noun}, older than {span_text(age)}"
    if is_dry or not count.number:
        write(f"Would purge {what}" if is_dry else "0 jobs purged")
        return
    if not is_sure:
        confirm(f"Purge {what}?")
    total = 0
    with progress("Purged", count.number) as advance:
        while True:
            gone = external.purge(
                older_than=age, state=state, task=task, keep_history=keep_history, limit=BATCH
            )
            total += gone
            advance(gone)
            if not gone:
                break
    write(f"{number_of(total)} purged")


def _retention(external: External) -> timedelta:
    seconds = installation_of(external.app).settings.retention
    if seconds is None:
        raise click.UsageError("Give --older-than: the setting external_retention is None")
    return timedelta(seconds=seconds)
