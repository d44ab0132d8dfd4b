"""Figures from the raw results: medians, their spread, ratios within a round, and the goals."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any, TypeAlias

Line: TypeAlias = Mapping[str, Any]
Key: TypeAlias = frozenset[tuple[str, Any]]

#: What a line says of its run and its round; the rest says what was measured.
_OF_RUN = {"round", "run", "commit", "changed", "versions", "machine", "settings"}
_OF_FIGURE = {"value", "unit", "benchmark"}


@dataclass(frozen=True)
class Goal:
    """What a figure is to reach: by itself, or beside what it is held against.

    ``where`` says which figures, by their case and conditions.
    """

    where: Mapping[str, Any]
    at_least: float | None = None
    at_most: float | None = None
    ratio_at_least: float | None = None
    ratio_at_most: float | None = None

    def __str__(self) -> str:
        parts = (
            ("{:,g} or more", self.at_least),
            ("{:,g} or less", self.at_most),
            ("{:g} or more beside it", self.ratio_at_least),
            ("{:g} or less beside it", self.ratio_at_most),
        )
        return ", ".join(text.format(bound) for text, bound in parts if bound is not None)

    def is_reached(self, figure: Figure) -> bool:
        """Whether the median reaches it."""
        value, ratio = figure.values.middle, figure.ratios.middle if figure.ratios else None
        return (
            (self.at_least is None or value >= self.at_least)
            and (self.at_most is None or value <= self.at_most)
            and (self.ratio_at_least is None or (ratio or 0) >= self.ratio_at_least)
            and (self.ratio_at_most is None or (ratio or 0) <= self.ratio_at_most)
        )


@dataclass(frozen=True)
class Spread:
    """The values of all rounds."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Iterable[float]) -> Spread:
        """The median, and between what the values lie."""
        given = sorted(values)
        return cls(median(given), given[0], given[-1])

    def __str__(self) -> str:
        if self.least == self.most:
            return tell_number(self.middle)
        return f"{tell_number(self.middle)} ({tell_number(self.least)} to {tell_number(self.most)})"


@dataclass(frozen=True)
class Figure:
    """One thing that was measured: its conditions, its values, and its ratios."""

    conditions: Mapping[str, Any]
    unit: str
    values: Spread
    #: Beside what it is held against; None: it is held against nothing.
    ratios: Spread | None


def latest(lines: Sequence[Line]) -> dict[str, list[Line]]:
    """The lines of each benchmark, of the last run that it was part of."""
    found: defaultdict[str, list[Line]] = defaultdict(list)
    for line in lines:
        before = found[line["benchmark"]]
        if before and before[0]["run"] != line["run"]:
            before.clear()
        before.append(line)
    return dict(found)


def figures_of(lines: Sequence[Line], against: Mapping[str, Any] | None = None) -> list[Figure]:
    """The figures of one benchmark, each held ``against`` the one with these conditions instead.

    A condition ``min`` stands for the least that there is, as in :func:`resolve`.
    """
    rounds: defaultdict[Key, dict[int, float]] = defaultdict(dict)
    units: dict[Key, str] = {}
    for line in lines:
        key = frozenset((name, value) for name, value in line.items()
                        if name not in _OF_RUN | _OF_FIGURE)  # fmt: skip
        rounds[key][line["round"]] = line["value"]
        units[key] = line["unit"]
    peer = resolve(against or {}, [dict(key) for key in rounds])
    return [
        Figure(dict(key), units[key], Spread.of(values.values()), _ratios(rounds, key, peer))
        for key, values in rounds.items()
    ]


def resolve(wanted: Mapping[str, Any], conditions: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Conditions, ``min`` and ``max`` replaced by the least and the most that there are."""
    return {
        name: value(one[name] for one in conditions if name in one) if callable(value) else value
        for name, value in wanted.items()
    }


def _ratios(
    rounds: Mapping[Key, Mapping[int, float]], key: Key, peer: Mapping[str, Any]
) -> Spread | None:
    other = frozenset({**dict(key), **peer}.items())
    if not peer or other == key or other not in rounds:
        return None
    ratios = [
        value / rounds[other][number_of_round]
        for number_of_round, value in rounds[key].items()
        if rounds[other].get(number_of_round)
    ]
    return Spread.of(ratios) if ratios else None


def tell_number(value: float) -> str:
    """Three digits, which is more than the machine's noise leaves."""
    if abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:.3g}"
