"""Signals a second, beside bare updates of one row by the same callers."""

from __future__ import annotations

import random
from itertools import islice

from tests.benchmarks.crew import Crew
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig

#: (a) the commit alone, (b) with the send, and what both are held against.
CASES = ("floor", "commit", "send")
#: Callers, and what each of them does in a round.
CALLERS = {1: 1000, 8: 250, 32: 60}


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """Each case in turn, in another order each round; the first round warms up."""
    given = rig.park_one()
    for kind in ("processes", "threads"):
        for callers, each in CALLERS.items():
            number = callers * each
            jobs = iter(rig.fill(given, 2 * (rounds + 1) * number))
            bare = iter(rig.fill_floor((rounds + 1) * number))
            rig.settle_down()
            shape = {"processes": 1, "threads": 1, kind: callers}
            crew = Crew("tests.benchmarks.callers:make_acts", rig.env, **shape)
            for number_of_round in range(rounds + 1):
                for case in random.sample(CASES, len(CASES)):
                    ids = bare if case == "floor" else jobs
                    seconds, _ = crew.run([(case, row_id) for row_id in islice(ids, number)])
                    if number_of_round:
                        records.add("signal", case, number / seconds, "per second",
                                    callers=callers, kind=kind, round=number_of_round)  # fmt: skip
                rig.empty_queues()
            crew.close()
