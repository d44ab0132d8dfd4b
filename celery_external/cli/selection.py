"""Which jobs a command is about: ids, ids from stdin, or filters and a confirmation."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import click

from celery_external import every
from celery_external.extension import External
from celery_external.installation import installation_of

from .filters import STATES, Decorator, filter_options, read_filters
from .terminal import tell
from .texts import number_of, plain

#: Of the tasks that a confirmation names.
MAX_NAMED = 5


@dataclass(frozen=True, slots=True)
class Chosen:
    """A job, and the only attempt of it that is meant; None: whichever is on."""

    id: str
    attempt: int | None


def selection_options(state: str) -> Decorator:
    """Give a command ids, filters and --yes; without --state, filters are about this state."""
    attempt = {"help": "Count for this attempt or for none. Jobs that filters select are only "
               "decided at the attempt at which they were found."}  # fmt: skip

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        sure: Decorator = click.option(
            "--yes", "-y", "is_sure", is_flag=True, help="Do not ask; needed without a terminal."
        )
        selecting = filter_options(
            state={"help": f"In this state: {STATES}.  [default: {state}]"},
            attempt=attempt,
        )
        ids: Decorator = click.argument("ids", nargs=-1, metavar="[ID]... | [-]")
        return ids(selecting(sure(function)))

    return decorate


def choose(
    external: External,
    verb: str,
    default_state: str,
    given: Mapping[str, Any],
) -> list[Chosen]:
    """The jobs that are meant, each once; filters have been confirmed.

    All are known before anything is done: what is done changes which jobs fit.
    """
    ids, filters = given["ids"], read_filters(given)
    by_filters = {name for name in filters if name != "attempt"}
    if ids and by_filters:
        raise click.UsageError("Give either ids or filters, not both")
    if ids:
        found = [Chosen(job_id, given.get("attempt")) for job_id in _read_ids(ids)]
    elif by_filters:
        found, tasks = _find(external, {"state": default_state, **filters})
    else:
        raise click.UsageError("Which jobs? Give ids, - to read ids from stdin, or filters")
    if not found:
        tell("There is no such job")
    elif by_filters and not given["is_sure"]:
        confirm(f"{verb.capitalize()} {number_of(len(found))} ({_named(tasks)})?")
    return found


def _read_ids(ids: Sequence[str]) -> list[str]:
    """The ids, each once; - stands for the lines of stdin."""
    read: list[str] = []
    for one in ids:
        lines: Iterable[str] = sys.stdin if one == "-" else [one]
        read.extend(stripped for line in lines if (stripped := line.strip()))
    return list(dict.fromkeys(read))


def _find(external: External, filters: Mapping[str, Any]) -> tuple[list[Chosen], Counter[str]]:
    """Every job that fits, oldest first, and how many of each task."""
    found: list[Chosen] = []
    tasks: Counter[str] = Counter()
    # Newest first: what is started meanwhile comes before the first page, and is not meant.
    for page in every.pages(installation_of(external.app), filters, order="-created"):
        # The attempt too: what has moved on since is not what was looked at.
        found.extend(Chosen(job.id, job.attempt) for job in page)
        tasks.update(job.task for job in page)
    return found[::-1], tasks


def _named(tasks: Counter[str]) -> str:
    named = [f"{plain(task)}: {count:,}" for task, count in tasks.most_common(MAX_NAMED)]
    return ", ".join([*named, *(["…"] if len(tasks) > MAX_NAMED else [])])


def confirm(question: str) -> None:
    """Ask; a usage error where nobody can answer, an end with 1 where the answer is no."""
    if not sys.stdin.isatty():
        raise click.UsageError(f"{question} Without a terminal say --yes")
    click.confirm(question, abort=True, err=True)
