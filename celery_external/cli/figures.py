"""``stats``: how many jobs there are, by task and label, and what hangs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from celery_external.extension import External
from celery_external.figures import Stats

from .command import Command, pass_external, text_or_json
from .terminal import Table, write
from .texts import json_text, moment_text, plain, span_text


@click.command("stats", cls=Command)
@text_or_json
@pass_external
def stats(external: External, /, *, format_: str) -> None:
    """Say how many jobs are parked, by task and label, and which hang.

    Numbers that are dear to count are estimates: "about", or in JSON "exact": false.
    """
    found = external.stats()
    write(json_text(asdict(found), indent=2) if format_ == "json" else "\n".join(_lines(found)))


def _lines(found: Stats) -> Iterator[str]:
    oldest = f", the oldest for {span_text(found.at - found.oldest)}" if found.oldest else ""
    yield f"At       {moment_text(found.at)}"
    yield f"Parked   {found.parked}{oldest}"
    yield f"Open     {', '.join(f'{count} {state}' for state, count in found.states.items())}"
    yield f"Overdue  {found.overdue}"
    yield f"Owed     {found.owed}"
    yield f"Stuck    {found.stuck}"
    if found.tasks:
        rows = [
            [one.task, one.parked, span_text(found.at - one.oldest) if one.oldest else ""]
            for one in found.tasks
        ]
        yield ""
        yield Table(["TASK", "PARKED", "OLDEST"], rows).as_text()
    if found.labels:
        yield ""
        yield Table(["LABEL", "PARKED"], [[plain(name), n] for name, n in found.labels]).as_text()
