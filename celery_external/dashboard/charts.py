"""Charts as rectangles and words, which the templates draw as SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from celery_external.figures import Stats, Timeline

from .rendering import tell_span

#: In the units of the drawing, which is as wide as its place.
WIDTH: Final = 360.0
_HEIGHT: Final = 120.0
_ROW: Final = 34.0
#: Bars of one chart; the table has the others too.
MAX_BARS: Final = 10
#: The kinds of outcome in the order in which they are stacked.
KINDS: Final = ("succeeded", "continued", "failed", "timed_out", "lost", "cancelled")


@dataclass(frozen=True, slots=True)
class Bar:
    """A rectangle: where it is, what it stands for, and the class of its colour."""

    x: float
    y: float
    width: float
    height: float
    title: str
    kind: str = "plain"
    label: str = ""
    value: str = ""


@dataclass(frozen=True, slots=True)
class Chart:
    """A drawing: a title and a description for who cannot see it, and the rectangles."""

    title: str
    description: str
    height: float
    bars: tuple[Bar, ...]
    top: str = ""
    width: float = WIDTH


def draw_tasks(stats: Stats) -> Chart:
    """Parked now, by task: a bar for each of the first."""
    shown = stats.tasks[:MAX_BARS]
    most = max((one.parked.number for one in shown), default=0) or 1
    bars = tuple(
        Bar(
            0, place * _ROW + 16, max(2.0, WIDTH * one.parked.number / most), 12,
            f"{one.task}: {one.parked}", label=_shorten(one.task), value=str(one.parked),
        )
        for place, one in enumerate(shown)
    )  # fmt: skip
    said = ", ".join(f"{one.task} {one.parked}" for one in shown)
    return Chart("Parked now, by task", said or "Nothing is parked.", len(shown) * _ROW, bars)


def draw_outcomes(timeline: Timeline, span: str) -> Chart:
    """Outcomes over time: a column for each step, stacked by kind; ``span`` is its name."""
    kinds = [kind for kind in KINDS if kind in timeline.outcomes]
    totals = [sum(column) for column in zip(*timeline.outcomes.values(), strict=False)]
    most, number = max(totals, default=0) or 1, max(1, len(totals))
    width, bars = WIDTH / number, []
    below = [0.0] * number
    for kind in kinds:
        for step, count in enumerate(timeline.outcomes[kind]):
            if not count:
                continue
            height = _HEIGHT * count / most
            below[step] += height
            at = timeline.since + step * timeline.step
            bars.append(
                Bar(
                    step * width, _HEIGHT - below[step], max(1.0, width - 1), height,
                    f"{at:%m-%d %H:%M}: {count} {kind.replace('_', ' ')}", kind,
                )
            )  # fmt: skip
    sums = {kind: sum(timeline.outcomes[kind]) for kind in kinds}
    said = ", ".join(f"{count} {kind.replace('_', ' ')}" for kind, count in sums.items() if count)
    return Chart(
        f"Outcomes in the last {span}", said or "There were none.", _HEIGHT, tuple(bars), str(most)
    )


def draw_waiting(timeline: Timeline) -> Chart:
    """For how long jobs had been parked: a column for each range."""
    most = max((count for _, count in timeline.waiting), default=0) or 1
    width = WIDTH / max(1, len(timeline.waiting))
    names = name_ranges([bound for bound, _ in timeline.waiting])
    bars = tuple(
        Bar(
            place * width + 2, _HEIGHT - _HEIGHT * count / most, width - 4,
            _HEIGHT * count / most, f"{name}: {count}", label=name,
        )
        for place, ((_, count), name) in enumerate(zip(timeline.waiting, names, strict=True))
    )  # fmt: skip
    said = ", ".join(f"{bar.title}" for bar in bars if bar.height)
    return Chart("Waiting times", said or "Nothing has ended.", _HEIGHT, bars, str(most))


def name_ranges(bounds: Sequence[float]) -> list[str]:
    """The ranges that end with these bounds, in seconds, for people."""
    names = []
    for place, bound in enumerate(bounds):
        if math.isinf(bound):
            names.append("longer" if place else "any")
        else:
            names.append(f"≤ {tell_span(bound)}")
    return names


def _shorten(text: str, length: int = 42) -> str:
    """The end of a long name, which tells tasks apart."""
    return text if len(text) <= length else f"…{text[1 - length :]}"
