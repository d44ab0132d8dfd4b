"""``python -m examples.gpu_render.jobs PARKED customer:zoo``: the jobs in a state, by label."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from celery_external import find_jobs

from .celeryapp import app


def list_jobs(state: str | None, *labels: str) -> Iterator[str]:
    """A line for each, the newest first."""
    for job in find_jobs(state=state, labels=labels, order="-created", app=app):
        progress = job.progress.message if job.progress else None
        said = job.reason or progress or ""
        task = job.task.rpartition(".")[2]
        yield f"{job.state:8} {task:14} {job.meta['prompt']:16} {job.attempt}  {said}".rstrip()


if __name__ == "__main__":
    for line in list_jobs(*sys.argv[1:]):
        print(line)
