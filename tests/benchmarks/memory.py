"""The memory of a worker and of beat, with few jobs parked and with many."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import psutil

from celery_external import Succeeded
from tests.benchmarks.records import Records
from tests.benchmarks.rig import APP, Rig
from tests.benchmarks.sized import Sized, build_sizes
from tests.processes import Beat, Process
from tests.waiting import wait_for

#: What the worker does in a round: so many it triggers, as many others it resumes.
JOBS = 200
#: And meanwhile it sweeps at least as often as this, at this interval (seconds).
SWEEPS = 4
SWEEP_INTERVAL = 1
PATIENCE = 300
PARKED = "SELECT count(*) FROM celery_external_job WHERE id = ANY(%s) AND state = 'PARKED'"


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """The same worker and beat in all rounds, of which the first warms up."""
    sizes = build_sizes(rig)
    with ExitStack() as stack:
        crews = [
            (tables, _start(rig, tables, stack)) for tables in dict.fromkeys((sizes[0], sizes[-1]))
        ]
        for number_of_round in range(rounds + 1):
            for tables, crew in crews:
                _work(tables)
                for case, process in crew.items():
                    for figure, value in _weigh(process).items() if number_of_round else ():
                        records.add("memory", case, value, "MB", figure=figure,
                                    jobs=tables.size, round=number_of_round)  # fmt: skip


def _start(rig: Rig, tables: Sized, stack: ExitStack) -> Mapping[str, Process]:
    env = {**tables.env, "SWEEP_INTERVAL": str(SWEEP_INTERVAL)}
    crew = {"worker": rig.worker(env=env, concurrency=1), "beat": Beat(APP, env=env)}
    for process in crew.values():
        stack.enter_context(process)
    return crew


def _work(tables: Sized) -> None:
    notes: Any = tables.notes
    noted, swept = notes.llen("none"), int(notes.get("sweeps") or 0)
    app: Any = tables.external.app
    asked = [app.send_task("bench.ask").id for _ in range(JOBS)]
    tables.external.signal_many((job_id, Succeeded(None)) for job_id in tables.add(JOBS))
    for what, is_done in {
        "the triggers": lambda: tables.query(PARKED, (asked,)) == [(JOBS,)],
        "the resumes": lambda: notes.llen("none") >= noted + JOBS,
        "the sweeps": lambda: int(notes.get("sweeps") or 0) >= swept + SWEEPS,
    }.items():
        wait_for(is_done, timeout=PATIENCE, what=what)
    # As many are parked as before.
    tables.execute("DELETE FROM celery_external_job WHERE id = ANY(%s)", (asked,))
    tables.execute("DELETE FROM celery_external_job WHERE completed_at IS NOT NULL")


def _weigh(process: Process) -> Mapping[str, float]:
    """Megabytes of a process and its pool: in all, and those that they share with nobody."""
    all_of_it = [psutil.Process(pid) for pid in (process.pid, *process.children())]
    infos = [one.memory_full_info() for one in all_of_it]
    return {name: sum(getattr(info, name) for info in infos) / 1e6 for name in ("rss", "uss")}
