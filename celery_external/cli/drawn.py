"""What rich draws on a terminal; imported only where it is installed (the extra ``cli``)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

import rich.box
import rich.progress
import rich.table
from rich.console import Console
from rich.live import Live
from rich.text import Text

from .terminal import Table
from .texts import plain


class Drawing:
    """A terminal to draw on."""

    def __init__(self, stream: TextIO, *, no_color: bool) -> None:
        self._console = Console(
            file=stream, color_system=None if no_color else "auto", highlight=False
        )

    def show(self, table: Table) -> None:
        """Draw it once."""
        self._console.print(_draw(table))

    @contextmanager
    def replacing(self) -> Iterator[Callable[[Table], None]]:
        """Gives what draws a table in the place of the one before."""
        with Live(console=self._console, screen=True, auto_refresh=False) as live:
            yield lambda table: live.update(_draw(table), refresh=True)

    @contextmanager
    def progress(self, title: str, total: int) -> Iterator[Callable[[int], None]]:
        """Gives what is told how many more are done; the bar goes when all are."""
        columns = (
            rich.progress.TextColumn("{task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeRemainingColumn(),
        )
        with rich.progress.Progress(*columns, console=self._console, transient=True) as bar:
            task = bar.add_task(title, total=total)
            yield lambda number: bar.advance(task, number)


def _draw(table: Table) -> rich.table.Table:
    drawn = rich.table.Table(
        box=rich.box.SIMPLE_HEAD, pad_edge=False, caption=table.note, caption_justify="left"
    )
    for title in table.titles:
        drawn.add_column(title, no_wrap=title not in table.long)
    for row in table.rows:
        drawn.add_row(*map(_cell, row))
    return drawn


def _cell(value: object) -> Text:
    # As Text: what jobs carry is no markup.
    return Text(plain(value), no_wrap=True, overflow="ellipsis")
