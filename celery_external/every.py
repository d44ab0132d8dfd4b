"""Every job that fits, however many: page after page, with their histories if wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from . import listing
from .store import histories
from .view import entry_from

if TYPE_CHECKING:
    from .installation import Installation
    from .job import Job


def pages(
    installation: Installation, filters: Mapping[str, Any], *, order: str
) -> Iterator[tuple[Job, ...]]:
    """The jobs that fit, as of ``find_jobs``; each page is read when it is asked for.

    Raises:
        OptionError: A filter or the order cannot be used.
    """
    after: str | None = None
    while True:
        page = listing.find(
            installation, filters, order=order, limit=listing.MAX_LIMIT, after=after
        )
        yield page.jobs
        after = page.next
        if after is None:
            return


def with_histories(installation: Installation, jobs: tuple[Job, ...]) -> tuple[Job, ...]:
    """The same jobs with their histories, which are looked up together."""
    with installation.database.alone() as tx:
        found = histories.get_histories(tx, installation.namespace, [job.id for job in jobs])
    return tuple(
        replace(job, history=tuple(entry_from(line) for line in found.get(job.id, ())))
        for job in jobs
    )
