"""Writes the part of ``docs/cli.md`` that each command's ``--help`` says: run it as a module."""

from __future__ import annotations

from collections.abc import Iterator

import click

from celery_external.cli import external
from tests.processes import REPOSITORY

DOCUMENT = REPOSITORY / "docs" / "cli.md"
#: The line behind which the document is made.
MARK = "What follows is each command's `--help`, written by `python -m tests.cli.document`.\n"
WIDTH = 96


def make_document(before: str) -> str:
    """The document with the commands as they are; what stands before the mark is kept."""
    kept, mark, _ = before.partition(MARK)
    if not mark:
        message = f"{DOCUMENT} has no line {MARK!r}"
        raise ValueError(message)
    return "\n".join([f"{kept}{MARK}", *_sections()])


def _sections() -> Iterator[str]:
    parent = _context(external, "celery -A proj external")
    yield f"```text\n{external.get_help(parent)}\n```\n"
    for name in sorted(external.commands):
        command = external.commands[name]
        said = command.get_help(_context(command, name, parent))
        yield f"## {name}\n\n```text\n{said}\n```\n"


def _context(
    command: click.Command, name: str, parent: click.Context | None = None
) -> click.Context:
    return click.Context(command, parent=parent, info_name=name, terminal_width=WIDTH,
                         max_content_width=WIDTH)  # fmt: skip


if __name__ == "__main__":
    DOCUMENT.write_text(make_document(DOCUMENT.read_text()))
