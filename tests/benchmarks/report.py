"""Tables from the raw results: medians, their spread, and ratios within a run."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path
from statistics import median
from typing import Any

from tests.benchmarks.records import read_records


def tell(path: Path) -> None:
    """Print the medians of each case."""
    found: defaultdict[tuple[Any, ...], list[float]] = defaultdict(list)
    known = {"value", "round", "run", "commit", "changed", "versions", "machine", "settings"}
    for line in read_records(path):
        found[tuple((k, v) for k, v in line.items() if k not in known)].append(line["value"])
    for key, values in found.items():
        print(*(v for _, v in key), f"{median(values):.4g} ({min(values):.4g}-{max(values):.4g})")
