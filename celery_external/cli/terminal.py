"""How the commands show what they found: drawn where somebody looks and rich is installed."""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TextIO

import click

from .texts import plain


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under titles; ``note`` stands below.

    Where there is no room, the columns that are ``long`` are shortened.
    """

    titles: Sequence[str]
    rows: Sequence[Sequence[object]]
    note: str | None = None
    long: Sequence[str] = ()

    def as_text(self) -> str:
        """Columns of text, whole, whatever the width."""
        lines = [list(self.titles), *([plain(cell) for cell in row] for row in self.rows)]
        widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
        texts = [
            "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip()
            for line in lines
        ]
        return "\n".join([*texts, *([self.note] if self.note else [])])


def write(text: str) -> None:
    """A line, or several, on stdout; as they are, but for what would steer a terminal."""
    if sys.stdout.isatty():
        text = "\n".join(map(plain, text.split("\n")))
    # Otherwise click takes colours out of what a program reads.
    click.echo(text, color=True)


def tell(text: str) -> None:
    """A line on stderr: for the person, and not for the program that reads stdout."""
    click.echo(text, err=True)


def show(table: Table) -> None:
    """A table on stdout."""
    drawing = _find_drawing(sys.stdout)
    if drawing is None:
        write(table.as_text())
    else:
        drawing.show(table)


def watch(find: Callable[[], Table], seconds: float) -> None:
    """Show a table anew every so many seconds, until Ctrl-C."""
    drawing = _find_drawing(sys.stdout)
    try:
        with drawing.replacing() if drawing else _one_below_the_other() as show_next:
            while True:
                show_next(find())
                time.sleep(seconds)
    except KeyboardInterrupt:
        return


@contextmanager
def _one_below_the_other() -> Iterator[Callable[[Table], None]]:
    yield lambda table: write(f"{table.as_text()}\n")


@contextmanager
def progress(title: str, total: int) -> Iterator[Callable[[int], None]]:
    """Gives what is to be told how many more are done; shown on stderr, to a person only."""
    drawing = _find_drawing(sys.stderr)
    if drawing is not None and total > 1:
        with drawing.progress(title, total) as advance:
            yield advance
        return
    done = 0

    def count(number: int) -> None:
        nonlocal done
        done += number
        if done < total and sys.stderr.isatty():
            tell(f"{title}: {done:,} of {total:,}")

    yield count


def _find_drawing(stream: TextIO) -> Any:
    """What draws on a terminal, if this is one and rich is there."""
    if not stream.isatty():
        return None
    try:
        drawn = importlib.import_module("celery_external.cli.drawn")
    except ImportError:
        return None
    no_color = bool(os.environ.get("NO_COLOR")) or click.get_current_context().obj.no_color
    return drawn.Drawing(stream, no_color=no_color)
