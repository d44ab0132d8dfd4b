"""``make bench-peers``: what peers do for the same job, measured beside us, in one run."""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

from tests.benchmarks.peers.calm import BUSY, Calm
from tests.benchmarks.peers.hosts import Host, measure
from tests.benchmarks.peers.report import write
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig, open_rig
from tests.processes import REPOSITORY

ENVIRONMENT = REPOSITORY / ".venv-peers"
OUTSIDE = ENVIRONMENT / "bin/python"
RATES = ("create", "complete")
#: Of each round, one by one.
SAMPLES = 7
#: Times that a figure may be taken again.
AGAIN = 2


class Kind(NamedTuple):
    """Who is measured, and in what."""

    module: str
    #: None for what runs in this very environment.
    needs: str | None = None
    verbs: Sequence[str] = (*RATES, "continue")
    processes: int = 1


KINDS = {
    "floor": Kind("floor", verbs=RATES),
    "floor-processes": Kind("floor", verbs=RATES, processes=8),
    "ours": Kind("ours"),
    "ours-processes": Kind("ours", verbs=RATES, processes=8),
    "by-hand": Kind("by_hand"),
    "dbos": Kind("dbos", needs="dbos"),
    "absurd": Kind("absurd", needs="absurd_sdk"),
    "awa": Kind("awa", needs="awa"),
    "procrastinate": Kind("procrastinate", needs="procrastinate", verbs=("create",)),
    "restate": Kind("restate", needs="restate"),
}


class Bench:
    """The peers that could be started, on one rig."""

    def __init__(self, rig: Rig, records: Records, seconds: float, patience: float) -> None:
        self._rig, self._records, self._seconds = rig, records, seconds
        self._calm, self._others = Calm(patience), 0.0
        self._given = rig.park_one()
        self._rates: dict[tuple[str, int], float] = {}
        self.hosts: dict[str, list[Host]] = {}

    def open(self, name: str, stack: ExitStack) -> None:
        """Start a peer; say so when it cannot be."""
        kind = KINDS[name]
        env: Mapping[str, str] = self._rig.env
        if kind.module not in ("floor", "ours"):
            env = {
                "DATABASE_URL": self._rig.postgres.create_database(),
                **{
                    key: self._rig.valkey.fresh_database()
                    for key in ("BROKER_URL", "RESULT_URL", "NOTES_URL")
                },
            }
        python = OUTSIDE if kind.needs else sys.executable
        hosts = [Host(python, kind.module, env) for _ in range(kind.processes)]
        for host in hosts:
            stack.callback(host.close)
        try:
            for host in hosts:
                host.ask("set_up")
        except RuntimeError as problem:
            print(f"left out, as it does not start: {name}\n{problem}")  # noqa: T201
            return
        self.hosts[name] = hosts

    def run(self, number_of_round: int) -> None:
        """Each figure of each peer once, in a random order; round 0 only warms up."""
        cells = [
            (name, verb, callers)
            for name, hosts in self.hosts.items()
            for verb in KINDS[name].verbs
            for callers in ((1,) if verb == "continue" else (8,) if len(hosts) > 1 else (1, 8))
        ]
        waiting = random.sample(cells, len(cells))
        again: Counter[tuple[str, str, int]] = Counter()
        while waiting:
            cell = waiting.pop(0)
            start = time.monotonic()
            try:
                line = self._take(*cell, is_warm_up=not number_of_round)
            except RuntimeError as problem:
                print(f"left out, as it failed: {cell}\n{problem}", flush=True)  # noqa: T201
                continue
            print(number_of_round, *cell, f"{line['value']:.1f}", line["others"], flush=True)  # noqa: T201
            if not number_of_round:
                continue
            # What others have disturbed is taken again, at the end of the round.
            if line["others"] > BUSY and again[cell] < AGAIN and self._calm.patience > 0:
                self._calm.patience -= time.monotonic() - start
                again[cell] += 1
                waiting.append(cell)
                continue
            case = cell[0].removesuffix("-processes")
            self._records.add("peers", case, **line, round=number_of_round)

    def _take(self, name: str, verb: str, callers: int, *, is_warm_up: bool) -> dict[str, Any]:
        kind = "processes" if len(self.hosts[name]) > 1 else "threads"
        line: dict[str, Any] = {"verb": verb, "callers": callers, "kind": kind}
        if verb == "continue":
            samples = self._continue(name, 2 if is_warm_up else SAMPLES)
            line |= {"samples": [round(it, 3) for it in samples], "unit": "ms"}
            value = median(samples)
        else:
            value = self._rate(name, verb, callers, 0.5 if is_warm_up else self._seconds)
            line |= {"unit": "per second"}
        return {**line, "value": value, "others": self._others}

    def _rate(self, name: str, verb: str, callers: int, seconds: float) -> float:
        hosts = self.hosts[name]
        if verb == "complete":
            expected = self._rates.get((name, callers), 1500 if callers > 1 else 500)
            self._stock(name, int(expected * seconds * 1.5))
        self._rig.execute("CHECKPOINT")
        threads = 1 if len(hosts) > 1 else callers
        self._calm.wait()
        rate = measure(hosts, verb, threads, seconds)
        self._others = self._calm.share()
        if verb == "complete":
            self._rates[name, callers] = max(self._rates.get((name, callers), 0.0), rate)
        return rate

    def _stock(self, name: str, number: int) -> None:
        hosts, module = self.hosts[name], KINDS[name].module
        if module not in ("floor", "ours"):
            hosts[0].ask("stock", number=number)
            return
        fill = self._rig.fill_floor
        ids = list(fill(number) if module == "floor" else self._rig.fill(self._given, number))
        self._rig.execute("VACUUM (ANALYZE)")
        for index, host in enumerate(hosts):
            host.ask("give", items=ids[index :: len(hosts)])

    def _continue(self, name: str, number: int) -> list[float]:
        host = self.hosts[name][0]
        host.ask("start")
        # The first is the worker's own warm-up.
        self._calm.wait()
        samples = host.ask("go_on", number=number + 1)[1:]
        self._others = self._calm.share()
        host.ask("stop")
        return [1000 * sample for sample in samples]


def main() -> None:
    """Measure the peers that are named, or all."""
    parser = argparse.ArgumentParser(prog="make bench-peers", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(KINDS))
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each figure; default 2")
    parser.add_argument(
        "--patience", type=float, default=300.0, help="seconds to spend, in all, for a calm machine"
    )
    parser.add_argument("--keep", action="store_true", help="add rounds to those there are")
    parser.add_argument("--out", type=Path, default=REPOSITORY / "docs/peers.jsonl")
    parser.add_argument("--page", type=Path, default=REPOSITORY / "docs/peers.md")
    given = parser.parse_args()
    # So that nothing that was started is left, however this ends.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _open_bench(given) as bench:
        for number_of_round in range(given.rounds + 1):
            bench.run(number_of_round)
    write(given.out, given.page)


@contextmanager
def _open_bench(given: argparse.Namespace) -> Iterator[Bench]:
    wanted = [name for name in given.names or KINDS if _is_there(name)]
    if not given.keep:
        given.out.unlink(missing_ok=True)
    with open_rig() as rig, ExitStack() as stack:
        records = Records(given.out, {**rig.settings(), "peers": _versions(), "load": _load()})
        bench = Bench(rig, records, given.seconds, given.patience)
        for name in wanted:
            bench.open(name, stack)
        yield bench


def _is_there(name: str) -> bool:
    needs = KINDS[name].needs
    if needs is None:
        return True
    found = (
        OUTSIDE.exists()
        and not subprocess.run(
            [OUTSIDE, "-c", f"import {needs}"], check=False, capture_output=True
        ).returncode
    )
    if not found:
        print(f"left out, as it is not installed: {name}")  # noqa: T201
    return found


def _versions() -> dict[str, Any]:
    """What is installed in the peers' environment."""
    done = subprocess.run(
        [OUTSIDE, "-m", "pip", "list", "--format=json"], capture_output=True, check=True
    )
    wanted = ("absurd-sdk", "awa-pg", "dbos", "procrastinate", "restate-sdk", "sqlalchemy")
    found = {line["name"].lower(): line["version"] for line in json.loads(done.stdout)}
    server = ENVIRONMENT / "npm/node_modules/@restatedev/restate-server/package.json"
    if server.exists():
        found["restate-server"] = json.loads(server.read_text())["version"]
    return {name: found[name] for name in (*wanted, "restate-server") if name in found}


def _load() -> float:
    return float(Path("/proc/loadavg").read_text().split()[0])


if __name__ == "__main__":
    main()
