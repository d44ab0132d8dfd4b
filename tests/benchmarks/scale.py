"""What grows with the number that is parked, and what should not."""

from __future__ import annotations

import random
import time
from collections import defaultdict, deque
from collections.abc import Callable
from itertools import count
from statistics import median, quantiles

from tests.benchmarks.owing import left_owed
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.benchmarks.sized import Sized, build_sizes

#: In a round, at each size.
SIGNALS = 200
OTHERS = 20
RESULT = {"approved": True}

PAYLOAD = """
SELECT count(*), sum(octet_length(envelope) + octet_length(body)
    + coalesce(octet_length(outcome), 0) + coalesce(octet_length(trigger_result), 0))
FROM celery_external_job
"""
TABLE = "SELECT pg_table_size('celery_external_job')"
INDEXES = """
SELECT indexrelid::regclass::text, pg_relation_size(indexrelid)
FROM pg_index WHERE indrelid = 'celery_external_job'::regclass
"""


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """Every call is made at each size in turn, so that all sizes meet the same machine."""
    sizes = build_sizes(rig)
    for tables in sizes:
        _measure_disk(tables, records)
    probes = [_Probe(tables, SIGNALS * (rounds + 1)) for tables in sizes]
    for number_of_round in range(rounds + 1):
        for case, number in (("signal", SIGNALS), ("sweep", OTHERS), ("page", OTHERS),
                             ("label", OTHERS), ("label of all", OTHERS)):  # fmt: skip
            found: defaultdict[_Probe, list[float]] = defaultdict(list)
            for _ in range(number):
                for probe in random.sample(probes, len(probes)):
                    found[probe].append(probe.time(case))
            for probe, times in found.items():
                figures = {"median": median(times)}
                if case == "signal":
                    figures["p99"] = quantiles(times, n=100)[98]
                for figure, value in figures.items() if number_of_round else ():
                    records.add("scale", case, value, "ms", figure=figure,
                                jobs=probe.tables.size, round=number_of_round)  # fmt: skip
        for probe in probes:
            probe.restore()


class _Probe:
    """Calls at one size, and what they took."""

    def __init__(self, tables: Sized, signals: int) -> None:
        self.tables = tables
        chosen = random.sample(range(len(tables.ids)), min(signals, len(tables.ids)))
        self._waiting = deque(tables.ids[place] for place in chosen)
        self._labels = count()

    def time(self, case: str) -> float:
        """Milliseconds of one call."""
        external = self.tables.external
        calls: dict[str, Callable[[], object]] = {
            "signal": self._signal,
            "sweep": external.sweep,
            "page": external.find_jobs,
            "label": lambda: external.find_jobs(labels=[self.tables.label(next(self._labels))]),
            "label of all": lambda: external.find_jobs(labels=["every"]),
        }
        call = calls[case]
        start = time.monotonic()
        call()
        return 1000 * (time.monotonic() - start)

    def restore(self) -> None:
        """As many wait as before."""
        self.tables.execute("DELETE FROM celery_external_job WHERE completed_at IS NOT NULL")
        self.tables.execute("TRUNCATE celery_external_history")
        self._waiting.extend(self.tables.add(SIGNALS))

    def _signal(self) -> None:
        with left_owed():
            self.tables.external.signal_succeeded(self._waiting.popleft(), RESULT, by="alice")


def _measure_disk(tables: Sized, records: Records) -> None:
    """Of a parked job, payload apart: its part of the table, and of each index."""
    number, payload = (int(value) for value in tables.query(PAYLOAD)[0])
    parts = {"table": tables.query(TABLE)[0][0] - payload, **dict(tables.query(INDEXES))}
    parts = {"together": sum(parts.values()), **parts, "payload": payload}
    for part, size in parts.items():
        records.add("disk", part.removeprefix("celery_external_job_"), size / number,
                    "bytes a job", jobs=tables.size, round=1)  # fmt: skip
