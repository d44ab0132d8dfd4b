"""``export``: jobs with their histories as JSON lines."""

from __future__ import annotations

from typing import Any

import click

from celery_external import every
from celery_external.extension import External
from celery_external.installation import installation_of
from celery_external.overview import read_clock

from .command import Command, pass_external
from .filters import filter_options, read_filters
from .records import record_with_history
from .terminal import write
from .texts import json_text


@click.command("export", cls=Command)
@filter_options()
@pass_external
def export(external: External, /, **given: Any) -> None:
    """Write every job that fits, with its history, as JSON: a job a line, oldest first.

    Of the jobs that there are as it begins. One that changes meanwhile is written as it was when
    its page of 1000 was read. The arguments are not written, only what the caller lets people see
    of them (argsrepr, kwargsrepr).
    """
    installation, filters = installation_of(external.app), read_filters(given)
    # What is started meanwhile is not meant: the pages would never end.
    begun = read_clock(installation)
    filters["created_before"] = min(filters.get("created_before", begun), begun)
    for page in every.pages(installation, filters, order="created"):
        jobs = every.with_histories(installation, page)
        if jobs:
            write("\n".join(json_text(record_with_history(job)) for job in jobs))
