"""How each benchmark is told: what it is held against, what it is to reach, what is drawn."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.benchmarks.figures import Goal


@dataclass(frozen=True)
class Chapter:
    """A table and a chart.

    Arguments:
        benchmark: What its lines are called.
        title: Of the chart.
        conditions: The columns of the table, and the order of its lines.
        against: What replaces a figure's conditions to give the one that it is held against.
        beside: How that is called.
        goals: What is to be reached.
        drawn: The conditions of the figures that stand in the chart.
    """

    benchmark: str
    title: str
    conditions: tuple[str, ...]
    against: Mapping[str, Any] = field(default_factory=dict)
    beside: str = ""
    goals: tuple[Goal, ...] = ()
    drawn: Mapping[str, Any] = field(default_factory=dict)


CHAPTERS = (
    Chapter(
        "signal",
        "Signals a second",
        ("kind", "callers", "case"),
        {"case": "floor"},
        "beside the bare update",
        (
            Goal({"kind": "processes", "callers": 8, "case": "commit"}, ratio_at_least=0.6),
            Goal({"kind": "processes", "callers": 8, "case": "send"}, ratio_at_least=0.35),
        ),
    ),
    Chapter(
        "signal_many",
        "Rows a second, many in one call",
        ("rows", "case"),
        {"case": "floor"},
        "beside the bare update",
        (Goal({"case": "commit"}, at_least=50_000, ratio_at_least=0.5),),
    ),
    Chapter(
        "latency",
        "Milliseconds until the next task begins",
        ("broker", "figure", "case"),
        {"case": "hop"},
        "beside a hop of Celery's own",
        (Goal({"case": "signal", "figure": "median"}, at_most=10, ratio_at_most=2.5),),
    ),
    Chapter(
        "lifecycle",
        "Chains a second and worker process",
        ("case",),
        {"case": "ordinary"},
        "beside two ordinary tasks",
        (Goal({"case": "external"}, ratio_at_least=0.5),),
    ),
    Chapter(
        "scale",
        "Milliseconds of a call, by the number that is parked",
        ("case", "figure", "jobs"),
        {"jobs": min},
        "beside the fewest",
        (
            Goal({"case": "sweep", "figure": "median"}, at_most=5, ratio_at_most=1.3),
            Goal({}, ratio_at_most=1.3),
        ),
        {"figure": "median"},
    ),
    Chapter(
        "disk",
        "Bytes of a parked job on the disk, payload apart",
        ("jobs", "case"),
        goals=(Goal({"case": "together"}, at_most=1024),),
        drawn={"jobs": max},
    ),
    Chapter(
        "expiry",
        "Jobs a second, all due at once",
        ("case", "jobs", "sweepers"),
        {"sweepers": 1},
        "beside one sweeper",
        (Goal({"case": "outcome", "sweepers": 2}, ratio_at_least=1.5),),
    ),
    Chapter(
        "memory",
        "Megabytes, by the number that is parked",
        ("case", "figure", "jobs"),
        {"jobs": min},
        "beside the fewest",
        (Goal({"figure": "uss"}, ratio_at_most=1.05),),
        {"figure": "uss"},
    ),
    Chapter(
        "start",
        "Milliseconds of an import",
        ("case", "figure"),
        goals=(
            Goal({"case": "over import", "figure": "time"}, at_most=50),
            Goal({"case": "over import", "figure": "memory"}, at_most=5),
            Goal({"case": "over an app", "figure": "time"}, at_most=50),
            Goal({"case": "over an app", "figure": "memory"}, at_most=5),
            Goal({"case": "over an app", "figure": "heavy"}, at_most=0),
        ),
        drawn={"unit": "ms"},
    ),
    Chapter(
        "sqlite",
        "Signals a second on SQLite",
        ("callers", "case"),
        {"case": "floor"},
        "beside the bare update",
    ),
)
