"""A job as a page shows it: of its history the newest lines only, however long it is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from .figures import Count
from .job import Job
from .naming import JobLike, known_id, require_row
from .store import counts, read
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row

#: Of a history, on one page: the newest lines.
MAX_LINES: Final = 200


@dataclass(frozen=True, slots=True)
class Glance:
    """What was read of a job.

    Attributes:
        job: The job; its ``history`` has no more than the newest lines, the oldest of them first.
        row: Its row.
        lines: How many lines the history has.
    """

    job: Job
    row: Row
    lines: Count

    @property
    def is_cut(self) -> bool:
        """Whether the history has earlier lines."""
        return self.lines.number > len(self.job.history)


def glance_at(installation: Installation, job: JobLike, *, using: Any = None) -> Glance:
    """The job with the end of its history.

    Raises:
        JobNotFoundError: There is none.
    """
    job_id, place = known_id(installation, job), installation.place(using)
    row = require_row(installation, place, job_id)
    with place.alone() as tx:
        history = read.get_newest_history(tx, installation.namespace, job_id, MAX_LINES)
    lines = Count(len(history))
    if len(history) == MAX_LINES:
        with place.alone() as tx:
            lines = Count(*counts.count_lines(tx, installation.namespace, job_id))
    return Glance(job_from(installation.app, row, history), row, lines)
