"""The fields by which a log line says which job it is about, beside its words."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def name_job(job: Any, task: str | None = None) -> dict[str, Any]:
    """What a log line about a job has as its ``extra``: ``job_id`` and ``task``.

    Not ``task_id`` and ``task_name``: Celery's formatter puts the task there that is running, and
    that may be the sweep, or whoever signals.

    Arguments:
        job: The row, the Job, or the id.
        task: The name of the job's task, of an id. None: it is not known here.
    """
    if isinstance(job, str):
        return {"job_id": job, "task": task}
    if isinstance(job, Mapping):
        return {"job_id": job["id"], "task": job.get("task")}
    return {"job_id": job.id, "task": job.task}


def name_jobs(job_ids: Iterable[str]) -> dict[str, Any]:
    """The same of a line about several jobs: ``job_ids``."""
    return {"job_ids": list(job_ids)}
