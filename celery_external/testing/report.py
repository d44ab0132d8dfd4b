"""What a failed assertion shows: all jobs there are, the parked ones first."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from celery_external import states
from celery_external.job import Job

#: Jobs in a table, and characters in one of its cells.
MAX_JOBS = 50
MAX_WIDTH = 40

_HEAD = ("state", "task", "attempt", "labels", "reference", "meta", "reason", "id")
_ORDER = [states.PARKED, states.PENDING, states.RETRY, states.STARTED]


def describe(filters: Mapping[str, Any]) -> str:
    """The filters as they were given."""
    given = ", ".join(f"{name}={value!r}" for name, value in filters.items() if value is not None)
    return f" with {given}" if given else ""


def tabulate(jobs: Sequence[Job]) -> str:
    """The jobs as a table, a line each."""
    if not jobs:
        return "There are no jobs."
    # A stable sort: in each state in the order in which they were started.
    ordered = sorted(jobs, key=_rank)
    rows = [_HEAD, *(_row(job) for job in ordered[:MAX_JOBS])]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = ["The jobs are:"]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        lines.append(f"  {'  '.join(cells).rstrip()}")
    if len(ordered) > MAX_JOBS:
        lines.append(f"  and {len(ordered) - MAX_JOBS} more")
    return "\n".join(lines)


def _rank(job: Job) -> int:
    return _ORDER.index(job.state) if job.state in _ORDER else len(_ORDER)


def _row(job: Job) -> tuple[str, ...]:
    meta = json.dumps(dict(job.meta), ensure_ascii=False, default=str) if job.meta else None
    cells = (
        job.state,
        job.task,
        str(job.attempt),
        ", ".join(job.labels),
        job.reference,
        meta,
        job.reason,
        job.id,
    )
    return tuple(_shorten(cell) for cell in cells)


def _shorten(text: str | None) -> str:
    if not text:
        return "-"
    line = " ".join(text.split())
    return line if len(line) <= MAX_WIDTH else f"{line[: MAX_WIDTH - 1]}…"
