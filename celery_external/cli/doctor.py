"""``doctor``: what is wrong, and what to do about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import asdict

import click

from celery_external.extension import External
from celery_external.figures import Finding

from .command import Command, pass_external, text_or_json
from .terminal import write
from .texts import json_text, one_line


@click.command("doctor", cls=Command)
@text_or_json
@pass_external
def doctor(external: External, /, *, format_: str) -> None:
    """Look at everything that is known to go wrong, and say what to do about it.

    Needs no worker. Exits with 1 if anything is an error; warnings alone are 0.
    """
    findings = external.diagnose()
    if format_ == "json":
        write(json_text([asdict(finding) for finding in findings], indent=2))
    else:
        write("\n".join(_lines(findings)))
    if any(finding.level == "error" for finding in findings):
        click.get_current_context().exit(1)


def _lines(findings: Sequence[Finding]) -> Iterator[str]:
    width = max(len(finding.name) for finding in findings)
    indent = " " * (len("warning") + width + 4)
    for finding in findings:
        yield f"{finding.level:7}  {finding.name.ljust(width)}  {one_line(finding.text)}"
        if finding.remedy and finding.level != "ok":
            yield f"{indent}-> {one_line(finding.remedy)}"
        if finding.jobs:
            yield f"{indent}Jobs: {', '.join(map(one_line, finding.jobs))}"
