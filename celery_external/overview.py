"""What there is to know of all jobs at one moment, and how they ended lately."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from . import states
from .checks import as_seconds
from .errors import OptionError
from .figures import Count, Stats, TaskStats, Timeline
from .store import counts, stats

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Transaction

#: Labels that are shown.
SHOWN_LABELS = 50
#: Parked jobs whose labels are looked at, of all tasks together; and of one task at least.
SAMPLE, SMALLEST_SAMPLE = 10_000, 200
#: Ended jobs that are looked at, in all steps together.
OUTCOMES = 100_000
MAX_STEPS = 1000
MAX_HOURS = 24 * 366 * 10


def read_clock(installation: Installation) -> datetime:
    """The database's clock, by which jobs are made and end."""
    with installation.database.alone() as tx:
        return stats.read_clock(tx)


def read_stats(installation: Installation) -> Stats:
    """The figures of this moment; see ``External.stats``."""
    namespace = installation.namespace
    with installation.database.alone() as tx:

        def count(**filters: Any) -> Count:
            return Count(*counts.count(tx, namespace, filters))

        tasks = sorted(
            (
                TaskStats(row["task"], count(state=states.PARKED, task=row["task"]), row["oldest"])
                for row in stats.find_parked_tasks(tx, namespace)
            ),
            key=lambda one: (-one.parked.number, one.task),
        )
        open_states = {
            state: count(state=state) for state in states.IN_ORDER if state in states.OPEN_STATES
        }
        if not open_states[states.PARKED].exact and len(tasks) < stats.MAX_TASKS:
            # Of each task by itself more is known.
            open_states[states.PARKED] = Count(
                sum(one.parked.number for one in tasks), all(one.parked.exact for one in tasks)
            )
        return Stats(
            at=stats.read_clock(tx),
            parked=open_states[states.PARKED],
            oldest=min((one.oldest for one in tasks if one.oldest), default=None),
            tasks=tuple(tasks),
            labels=_count_labels(tx, namespace, tasks),
            states=open_states,
            overdue=count(overdue=True),
            owed=count(owed=True),
            stuck=count(stuck=True),
        )


def _count_labels(
    tx: Transaction, namespace: str, tasks: list[TaskStats]
) -> tuple[tuple[str, Count], ...]:
    """Of as many jobs of each task as are cheap to look at, scaled to all of them."""
    numbers: Counter[str] = Counter()
    # One sample that is too small may lack any label.
    is_exact = True
    size = max(SAMPLE // max(len(tasks), 1), SMALLEST_SAMPLE)
    for one in tasks:
        scale = max(one.parked.number / size, 1)
        is_exact = is_exact and scale == 1
        for label, number in stats.count_labels(tx, namespace, one.task, size).items():
            numbers[label] += round(number * scale)
    most = sorted(numbers.items(), key=lambda item: (-item[1], item[0]))[:SHOWN_LABELS]
    return tuple((label, Count(number, is_exact)) for label, number in most)


def read_timeline(installation: Installation, *, hours: float, steps: int) -> Timeline:
    """How jobs ended in the last hours; see ``External.timeline``."""
    length = _check_hours(hours)
    _check_steps(steps)
    namespace = installation.namespace
    outcomes: dict[str, list[int]] = defaultdict(lambda: [0] * steps)
    waiting = [0.0] * (len(stats.BOUNDS) + 1)
    is_exact = True
    with installation.database.alone() as tx:
        until = stats.read_clock(tx)
        step = length / steps
        bounds = [until - (steps - number) * step for number in range(steps)] + [until]
        limit = OUTCOMES // steps
        for number in range(steps):
            since, end = bounds[number], bounds[number + 1]
            rows = stats.count_outcomes(tx, namespace, since, end, limit + 1)
            seen = sum(row["number"] for row in rows)
            scale = 1.0
            if seen > limit:
                # The planner may expect fewer than have been seen.
                scale = max(1.0, _count_ended(tx, namespace, since, end) / seen)
                is_exact = False
            for row in rows:
                outcomes[row["kind"]][number] += round(row["number"] * scale)
                if row["waited"] >= 0:
                    waiting[row["waited"]] += row["number"] * scale
    return Timeline(
        since=bounds[0],
        until=until,
        step=step,
        outcomes={kind: tuple(outcomes[kind]) for kind in sorted(outcomes)},
        waiting=tuple(
            (bound, round(number))
            for bound, number in zip((*stats.BOUNDS, math.inf), waiting, strict=True)
        ),
        exact=is_exact,
    )


def _count_ended(tx: Transaction, namespace: str, since: datetime, until: datetime) -> int:
    between: Mapping[str, Any] = {"completed_since": since, "completed_before": until}
    return counts.count(tx, namespace, between)[0]


def _check_hours(hours: float) -> timedelta:
    number = as_seconds(hours) if not isinstance(hours, timedelta) else None
    if number is None or not 0 < number <= MAX_HOURS:
        raise OptionError("hours", f"must be a number from 0 to {MAX_HOURS}, not {hours!r}")
    return timedelta(hours=number)


def _check_steps(steps: int) -> None:
    if not isinstance(steps, int) or isinstance(steps, bool) or not 1 <= steps <= MAX_STEPS:
        raise OptionError("steps", f"must be a number from 1 to {MAX_STEPS}, not {steps!r}")
