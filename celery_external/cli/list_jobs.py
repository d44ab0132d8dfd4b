"""``list``: the jobs that fit, a page at a time."""

from __future__ import annotations

import csv
import io
from datetime import UTC, datetime, timedelta
from typing import Any

import click

from celery_external.extension import External
from celery_external.job import Job, Page
from celery_external.listing import MAX_LIMIT
from celery_external.store import read

from .command import Command, pass_external
from .filters import filter_options, read_filters
from .records import COLUMNS, cells_of, record_of
from .terminal import Table, show, tell, watch, write
from .texts import distance_text, json_text, moment_text, span_text
from .values import Span

ORDERS = [f"{sign}{name}" for name in read.ORDERS for sign in ("", "-")]

#: Seconds between two looks at the least.
SHORTEST_PAUSE = 0.1


@click.command("list", cls=Command)
@filter_options()
@click.option(
    "--order",
    type=click.Choice(ORDERS),
    default="-parked",
    show_default=True,
    help="By this time; with -: newest first. A job without that time is not in the list: for all "
    "jobs say created.",
)
@click.option(
    "--limit",
    type=click.IntRange(1, MAX_LIMIT),
    default=50,
    show_default=True,
    help="At most so many.",
)
@click.option("--after", metavar="PLACE", help="Go on behind the page that said so.")
@click.option(
    "--format",
    "format_",
    type=click.Choice(["table", "json", "csv", "ids"]),
    default="table",
    show_default=True,
    help="json: an object with jobs and next, the PLACE of the next page; ids: one a line.",
)
@click.option("--watch", "is_watched", is_flag=True, help="Look again and again, until Ctrl-C.")
@click.option(
    "--interval",
    type=Span(),
    default="2s",
    show_default=True,
    help="With --watch: how long to wait between two looks.",
)
@pass_external
def list_jobs(
    external: External,
    /,
    *,
    order: str,
    limit: int,
    after: str | None,
    format_: str,
    is_watched: bool,
    interval: timedelta,
    **given: Any,
) -> None:
    """List jobs that fit all filters.

    Where there are more, stderr says how to go on.
    """
    filters = read_filters(given)

    def find() -> Page:
        return external.find_jobs(**filters, order=order, limit=limit, after=after)

    if is_watched and format_ != "table":
        raise click.UsageError("--watch draws tables: leave --format out")
    if is_watched:
        pause = max(interval.total_seconds(), SHORTEST_PAUSE)
        watch(lambda: _as_table(find(), with_time=True), pause)
        return
    page = find()
    if format_ == "table":
        show(_as_table(page))
    else:
        text = _WRITERS[format_](page)
        if text:
            write(text)
    if page.next and format_ != "json":
        tell(f"There are more: --after {page.next}")


def _as_table(page: Page, *, with_time: bool = False) -> Table:
    now = datetime.now(UTC)
    titles = ["ID", "TASK", "STATE", "LABELS", "FOR", "DEADLINE"]
    note = f"{moment_text(now)}, Ctrl-C ends" if with_time else None
    return Table(titles, [_row(job, now) for job in page], note, long=("TASK", "LABELS"))


def _row(job: Job, now: datetime) -> list[object]:
    since = job.completed_at or job.parked_at or job.started_at or job.created_at or now
    return [
        job.id,
        job.shadow or job.task,
        _state(job),
        ", ".join(job.labels),
        span_text(now - since),
        distance_text(job.deadline) if job.deadline and job.is_open else "",
    ]


def _state(job: Job) -> str:
    """The state, and what is out of the ordinary about it."""
    more = [
        *(["owed"] if not (job.is_open or job.settled) else []),
        *(["stuck"] if job.stuck else []),
        *([f"attempt {job.attempt}"] if job.attempt > 1 else []),
    ]
    return f"{job.state} ({', '.join(more)})" if more else job.state


def _as_json(page: Page) -> str:
    return json_text({"jobs": [record_of(job) for job in page], "next": page.next}, indent=2)


def _as_csv(page: Page) -> str:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows(map(cells_of, page))
    return out.getvalue().rstrip("\n")


def _as_ids(page: Page) -> str:
    return "\n".join(job.id for job in page)


_WRITERS = {"json": _as_json, "csv": _as_csv, "ids": _as_ids}
