"""``make bench``: measure, and keep each figure of each round; ``--help`` says what there is."""

from __future__ import annotations

import argparse
import importlib
import os
from pathlib import Path

from tests.benchmarks.records import Records
from tests.benchmarks.report import tell
from tests.benchmarks.rig import open_rig
from tests.benchmarks.sized import check_disk, parse_size

BENCHMARKS = (
    "signalling",
    "many",
    "latency",
    "lifecycle",
    "scale",
    "expiry",
    "memory",
    "start",
    "sqlite",
)


def main() -> None:
    """Run the benchmarks that are named, or all."""
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(BENCHMARKS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("bench.jsonl"))
    parser.add_argument(
        "--size", default=os.environ.get("SIZE") or "1m", type=parse_size,
        help="the most jobs parked at once, such as 20k or 10m; default: 1m, or SIZE",
    )  # fmt: skip
    given = parser.parse_args()
    check_disk(given.size)
    with open_rig(given.size) as rig:
        records = Records(given.out, rig.settings())
        for name in given.names or BENCHMARKS:
            rig.clear()
            importlib.import_module(f"tests.benchmarks.{name}").measure(rig, records, given.rounds)
    tell(given.out)


if __name__ == "__main__":
    main()
