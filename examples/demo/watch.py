"""Looks at the jobs while they run: a live table, or plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from celery_external import Job, find_jobs

from .celeryapp import app
from .pipeline import Run

#: How many tasks the worker can run at a time, and its name.
SLOTS = 2
WORKER = "demo@localhost"

COLOURS = {"PARKED": "yellow", "SUCCESS": "green", "FAILURE": "red", "RETRY": "magenta"}


class Watch:
    """What the jobs' table and the worker say, from one look to the next."""

    def __init__(self, runs: Sequence[Run]) -> None:
        """Nothing seen yet."""
        self.runs = runs
        self.jobs: dict[str, Job] = {}
        self.held: set[str] = set()
        self.most_parked = 0
        self.most_held = 0
        self._started = time.monotonic()

    @property
    def seconds(self) -> float:
        """How long we have been watching."""
        return time.monotonic() - self._started

    def look(self) -> None:
        """Read the jobs, and ask the worker what its slots are busy with."""
        before = self._parked()
        busy = _ask_worker()
        self.jobs = {job.id: job for job in find_jobs(order="created", limit=1000, app=app)}
        # Between two looks a job may come or go: count one that was parked in both.
        parked = {job_id for job_id, _ in before & self._parked()}
        if busy is not None:
            self.held = parked & busy
            self.most_held = max(self.most_held, len(self.held))
            self.most_parked = max(self.most_parked, len(parked))

    def is_over(self) -> bool:
        """Whether every chain has come to its end."""
        return all(job.settled for job in self.jobs.values()) and all(
            run.result.ready() for run in self.runs
        )

    def summary(self) -> str:
        """One line."""
        states = Counter(job.state for job in self.jobs.values())
        counts = " ".join(f"{state} {count}" for state, count in sorted(states.items()))
        return (
            f"{self.seconds:5.1f} s  {counts or 'no jobs yet'}  |  "
            f"{len(self._parked())} parked, holding {len(self.held)} of {SLOTS} worker slots"
        )

    def table(self) -> Group:
        """A line for each product."""
        table = Table("product", "render", "approval", "page", min_width=78)
        for run in self.runs:
            table.add_row(
                run.product["title"],
                self._describe(run.render),
                self._describe(run.approval),
                "published" if run.result.successful() else "",
            )
        return Group(table, Text(self.summary()))

    def _parked(self) -> set[tuple[str, int]]:
        return {(job.id, job.attempt) for job in self.jobs.values() if job.state == "PARKED"}

    def _describe(self, job_id: str) -> Text:
        job = self.jobs.get(job_id)
        if job is None:
            return Text("")
        attempt = f", attempt {job.attempt}" if job.attempt > 1 else ""
        return Text(f"{job.state}{attempt}", COLOURS.get(job.state, ""))


class Screen:
    """Shows a `Watch`: a table that changes in place, or a plain line a second."""

    def __init__(self, console: Console) -> None:
        """A console that is no terminal gets the lines."""
        self._console = console
        self._live = Live(console=console, auto_refresh=False)
        self._last_line = 0.0

    def __enter__(self) -> Self:
        """Take the screen, if there is one."""
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_exc_info: object) -> None:
        """Give it back."""
        self._live.stop()

    def show(self, watch: Watch) -> None:
        """Show the last look."""
        if self._console.is_terminal:
            self._live.update(watch.table(), refresh=True)
        elif watch.seconds >= self._last_line + 1:
            self._last_line = watch.seconds
            self._console.print(watch.summary(), highlight=False, soft_wrap=True)


def _ask_worker() -> set[str] | None:
    """The ids of the tasks that hold a slot; None: the worker does not answer (yet)."""
    inspect = app.control.inspect(destination=[WORKER], timeout=1, limit=1)
    active = inspect.active()
    return None if active is None else {task["id"] for task in active[WORKER]}
