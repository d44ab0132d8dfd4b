"""Figures about many jobs, and the findings of the doctor: frozen values."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Count:
    """How many; as text ``1,234``, or ``about 1,200,000`` where counting all would be dear.

    Attributes:
        number: How many.
        exact: Whether they were counted. False: the database's planner estimates it.
    """

    number: int
    exact: bool = True

    def __str__(self) -> str:
        if self.exact:
            return f"{self.number:,}"
        # More digits than two would claim what nobody knows.
        return f"about {round(self.number, 2 - len(str(self.number))):,}"


@dataclass(frozen=True, slots=True)
class TaskStats:
    """What is parked of one task.

    Attributes:
        task: The task's name.
        parked: How many of its jobs are parked.
        oldest: When the first of them parked.
    """

    task: str
    parked: Count
    oldest: datetime | None


@dataclass(frozen=True, slots=True)
class Stats:
    """What there is to know of all jobs at one moment. Times are aware, in UTC.

    Attributes:
        at: The moment, by the database's clock.
        parked: How many jobs are parked.
        oldest: When the first of them parked.
        tasks: The same by task; most parked first.
        labels: How many parked jobs have a label; most first, fifty at the most.
        states: How many jobs are in each open state.
        overdue: Jobs that the sweep should have looked at by now.
        owed: Outcomes that Celery has not taken yet.
        stuck: Jobs whose message was sent as often as is reasonable, and no worker took it.
    """

    at: datetime
    parked: Count
    oldest: datetime | None
    tasks: tuple[TaskStats, ...]
    labels: tuple[tuple[str, Count], ...]
    states: Mapping[str, Count]
    overdue: Count
    owed: Count
    stuck: Count


@dataclass(frozen=True, slots=True)
class Timeline:
    """How jobs ended, step by step, and for how long they had been parked.

    Attributes:
        since: The beginning of the first step; ``until``: the end of the last one, which is now.
        step: The length of a step.
        outcomes: For each kind of outcome (``succeeded``, ``timed_out``, ...) a number a step.
        waiting: How many had been parked for at most so many seconds, and for longer than the
            bound before; the last bound is infinite.
        exact: False: there were too many to look at each, and the numbers are estimates.
    """

    since: datetime
    until: datetime
    step: timedelta
    outcomes: Mapping[str, tuple[int, ...]]
    waiting: tuple[tuple[float, int], ...]
    exact: bool


@dataclass(frozen=True, slots=True)
class Finding:
    """What the doctor found about one thing.

    Attributes:
        name: What was looked at, in one word; the same word whatever was found.
        level: ``ok``, ``warning`` or ``error``.
        text: What was found.
        remedy: What to do about it; None where nothing is to be done.
        jobs: The ids of some jobs that it is about.
    """

    name: str
    level: Level
    text: str
    remedy: str | None = None
    jobs: tuple[str, ...] = field(default=())
