"""Jobs as JSON and as rows: what ``list``, ``show`` and ``export`` write for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from celery_external.job import HistoryEntry, Job

from .texts import json_text

#: Columns of CSV, in order; lists and objects are JSON in them.
COLUMNS = ("id", "task", "shadow", "state", "attempt", "settled", "stuck", "labels", "meta",
           "reference", "queue", "root_id", "parent_id", "group_id", "created_at", "started_at",
           "parked_at", "deadline", "completed_at", "completed_by", "kind", "result", "reason",
           "progress", "sends")  # fmt: skip


def record_of(job: Job) -> dict[str, Any]:
    """Everything of a job but the arguments themselves.

    Their ``argsrepr`` and ``kwargsrepr`` are there: what its caller lets people see.
    """
    shown = {name: getattr(job, name) for name in COLUMNS}
    return {
        "namespace": job.namespace,
        **shown,
        "argsrepr": job.argsrepr,
        "kwargsrepr": job.kwargsrepr,
        "trigger_result": job.trigger_result,
        "progress": asdict(job.progress) if job.progress else None,
    }


def record_with_history(job: Job) -> dict[str, Any]:
    """The same, and its history, oldest first."""
    return {**record_of(job), "history": [_line_of(entry) for entry in job.history]}


def _line_of(entry: HistoryEntry) -> dict[str, Any]:
    line = {name: getattr(entry, name) for name in ("event", "attempt", "at", "by", "reason")}
    return {**line, "details": dict(entry.details)}


def cells_of(job: Job) -> list[str]:
    """A row of CSV; nothing for None."""
    return [_cell(value) for value in map(record_of(job).get, COLUMNS)]


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    text = json_text(value)
    # A time is a text in JSON: here it needs no quotes.
    is_container = isinstance(value, (Mapping, list, tuple))
    return text if is_container else text.strip('"')
