"""Rows as jobs: the frozen snapshot that callers see."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

from kombu.exceptions import ContentDisallowed, DecodeError
from kombu.utils import json

from . import states
from .job import HistoryEntry, Job, Progress
from .logs import name_job
from .message import load_body
from .payload import load

if TYPE_CHECKING:
    from celery import Celery

    from .store.database import Row

logger = logging.getLogger("celery_external")


def job_from(app: Celery, row: Row, history: Sequence[Row] = ()) -> Job:
    """The snapshot that callers see of a row."""
    args, kwargs = _arguments(app, row)
    headers = _headers(row)
    is_settled = row["kind"] is not None and row["wake_at"] is None
    succeeded = (row["answer"] or row["kind"]) == states.SUCCEEDED
    # These are columns and attributes by the same name.
    same = ("id", "namespace", "task", "state", "attempt", "shadow", "meta", "reference", "queue",
            "root_id", "parent_id", "group_id", "created_at", "started_at", "parked_at", "deadline",
            "completed_at", "completed_by", "kind", "reason", "sends")  # fmt: skip
    return Job(
        **{name: row[name] for name in same},
        settled=is_settled,
        stuck=row["sends"] > states.MAX_SENDS and not is_settled,
        labels=tuple(row["labels"]),
        args=args,
        kwargs=kwargs,
        argsrepr=headers.get("argsrepr"),
        kwargsrepr=headers.get("kwargsrepr"),
        result=_shown_value(app, row, "outcome") if succeeded else None,
        trigger_result=_shown_value(app, row, "trigger_result"),
        progress=_progress(row["progress"]),
        history=tuple(entry_from(line) for line in history),
    )


def entry_from(line: Row) -> HistoryEntry:
    """A line of the history likewise."""
    kept = ("event", "attempt", "at", "by", "reason")
    return HistoryEntry(**{name: line[name] for name in kept}, details=line["details"] or {})


def _progress(kept: Mapping[str, Any] | None) -> Progress | None:
    if kept is None:
        return None
    return Progress(**{**kept, "at": datetime.fromisoformat(kept["at"])})


def _headers(row: Row) -> Mapping[str, Any]:
    try:
        headers: Mapping[str, Any] = json.loads(row["envelope"])["headers"]
    except (LookupError, TypeError, ValueError) as exc:
        logger.warning("The message of job %s is damaged: %r", row["id"], exc, extra=name_job(row))
        return {}
    return headers


def _arguments(app: Celery, row: Row) -> tuple[Any, Any]:
    if "body" not in row:
        return None, None
    try:
        args, kwargs, _embed = load_body(app, row)
    except (ContentDisallowed, DecodeError, LookupError, TypeError, ValueError) as exc:
        logger.info(
            "The arguments of job %s cannot be shown: %s", row["id"], exc, extra=name_job(row)
        )
        return None, None
    return args, kwargs


def _shown_value(app: Celery, row: Row, column: str) -> Any:
    try:
        return load(app, row[column], row[f"{column}_type"])
    except (ContentDisallowed, DecodeError) as exc:
        logger.info(
            "The %s of job %s cannot be shown: %s", column, row["id"], exc, extra=name_job(row)
        )
        return None
