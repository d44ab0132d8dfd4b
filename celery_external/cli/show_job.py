"""``show``: everything about one job."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

import click

from celery_external import states
from celery_external.extension import External
from celery_external.job import HistoryEntry, Job, Progress

from .command import Command, pass_external, text_or_json
from .records import record_with_history
from .terminal import write
from .texts import json_text, moment_text, plain, shown_json, when_text


@click.command("show", cls=Command)
@click.argument("job_id", metavar="ID")
@text_or_json
@pass_external
def show_job(external: External, /, *, job_id: str, format_: str) -> None:
    """Show a job: what it waits for, since when, until when, and its history.

    The arguments are shown as the caller lets people see them (argsrepr, kwargsrepr).
    """
    job = external.get_job(job_id)
    if format_ == "json":
        write(json_text(record_with_history(job), indent=2))
        return
    write("\n".join(describe(job)))


def describe(job: Job) -> Iterator[str]:
    """Everything of a job for people, line by line."""
    yield f"Job {plain(job.id)}"
    fields = [(title, value) for title, value in _fields(job) if value is not None]
    width = max(len(title) for title, _ in fields)
    for title, value in fields:
        yield f"  {title.ljust(width)}  {plain(value)}"
    yield "History"
    for entry in _timeline(job):
        yield f"  {_line(entry)}"


def _fields(job: Job) -> Iterator[tuple[str, str | None]]:
    waits_for, since = _waits_for(job)
    yield "task", f"{job.task} ({job.shadow})" if job.shadow else job.task
    yield "state", f"{job.state}, attempt {job.attempt}"
    yield "waits for", waits_for
    if since is not None:
        yield "since", when_text(since)
    if job.is_open:
        yield "until", when_text(job.deadline) if job.deadline else "for ever: it has no deadline"
    if job.stuck:
        yield "stuck", f"sent again {job.sends} times and never taken: is a worker on its queue?"
    yield from _outcome(job)
    yield "progress", _progress(job.progress) if job.progress else None
    yield "labels", ", ".join(job.labels) or None
    for key, value in job.meta.items():
        yield f"meta {plain(key)}", shown_json(value)
    yield "arguments", f"{job.argsrepr or '()'} {job.kwargsrepr or '{}'}"
    if job.trigger_result is not None:
        yield "trigger said", shown_json(job.trigger_result)
    for name in ("reference", "queue", "root_id", "parent_id", "group_id"):
        yield name.removesuffix("_id"), getattr(job, name)


def _waits_for(job: Job) -> tuple[str, datetime | None]:
    """What the job waits for, and since when."""
    if job.state == states.PARKED:
        known = f" for {job.reference}" if job.reference else ""
        return f"a signal from outside{known}", job.parked_at
    if job.state == states.STARTED:
        return "its trigger to end", job.started_at
    if job.is_open:
        return f"a worker to take it from the queue {job.queue}", job.created_at
    if job.settled:
        return "nothing: it is over, and Celery has been told", None
    return "a worker to tell Celery of the outcome", job.completed_at


def _outcome(job: Job) -> Iterator[tuple[str, str | None]]:
    if job.kind is None:
        return
    by = f" by {job.completed_by}" if job.completed_by else ""
    yield "outcome", f"{job.kind}{by}"
    yield "reason", job.reason
    if job.state == states.SUCCESS and job.kind != states.CONTINUED:
        yield "result", shown_json(job.result)


def _progress(progress: Progress) -> str:
    parts = []
    if progress.current is not None:
        parts.append(f"{progress.current:g}")
        if progress.total:
            share = progress.current / progress.total
            parts.append(f"of {progress.total:g} ({share:.0%})")
    if progress.message:
        parts.append(progress.message)
    if progress.at is not None:
        parts.append(f"at {when_text(progress.at)}")
    return " ".join(parts)


def _timeline(job: Job) -> list[HistoryEntry]:
    """The history, with the times of the present attempt, which are no lines of it."""
    begun = [
        HistoryEntry(name, attempt, moment)
        for name, attempt, moment in (
            ("created", 1, job.created_at),
            ("started", job.attempt, job.started_at),
            ("parked", job.attempt, job.parked_at),
        )
        if moment is not None
    ]
    return sorted([*begun, *job.history], key=lambda entry: entry.at)


def _line(entry: HistoryEntry) -> str:
    by = f" by {entry.by}" if entry.by else ""
    reason = f": {entry.reason}" if entry.reason else ""
    details = f" {shown_json(entry.details)}" if entry.details else ""
    said = f"{entry.event}{by}{reason}{details}"
    return plain(f"{moment_text(entry.at)}  attempt {entry.attempt}  {said}")
