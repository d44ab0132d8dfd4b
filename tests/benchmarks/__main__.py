"""``make bench``: measure, and keep each figure of each round; ``--help`` says what there is."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from tests.benchmarks.records import Records
from tests.benchmarks.report import RESULTS, tell
from tests.benchmarks.rig import open_rig
from tests.benchmarks.sized import check_disk, parse_size, sizes_up_to

BENCHMARKS = (
    "signalling", "many", "latency", "lifecycle", "scale", "expiry", "memory", "start", "sqlite",
)  # fmt: skip


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the benchmarks that are named, or all."""
    given = _parse(arguments)
    check_disk(sum(sizes_up_to(given.size)))
    if not given.add:
        given.out.unlink(missing_ok=True)
    with open_rig(given.size) as rig:
        records = Records(given.out, rig.settings())
        for name in given.names or BENCHMARKS:
            rig.clear()
            start = time.monotonic()
            importlib.import_module(f"tests.benchmarks.{name}").measure(rig, records, given.rounds)
            sys.stderr.write(f"{name}: {time.monotonic() - start:.0f} s\n")
    tell(given.out)


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument(
        "names", nargs="*", metavar="NAME", choices=[[], *BENCHMARKS],
        help=f"which; default: all of {', '.join(BENCHMARKS)}",
    )  # fmt: skip
    parser.add_argument("--rounds", type=int, default=5, help="that are kept; default: 5")
    parser.add_argument(
        "--size", default=os.environ.get("SIZE") or "1m", type=parse_size,
        help="the most jobs at once, such as 20k or 10m; default: 1m",
    )  # fmt: skip
    parser.add_argument(
        "--out", type=Path, default=RESULTS, help="where the raw results go; it is replaced"
    )
    parser.add_argument("--add", action="store_true", help="add to the raw results of other runs")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    main()
