"""What ``import celery_external`` costs over ``import celery, sqlalchemy``."""

from __future__ import annotations

import json
import random
import subprocess
import sys
from statistics import median

from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.processes import REPOSITORY

#: What is there before. Celery's package is empty until it is used; an app has most of it.
CASES = {
    "over import": "import celery, sqlalchemy",
    "over an app": "import sqlalchemy; from celery import Celery, Task; Celery('app').finalize()",
}
#: Fresh interpreters in a round, of each case.
NUMBER = 4
#: None of them is needed before it is used.
HEAVY = {"psycopg", "alembic", "flask", "django", "fastapi", "jinja2", "pydantic", "rich",
         "prometheus_client"}  # fmt: skip
SCRIPT = """
import gc, json, sys, time, psutil
{before}
gc.collect()
memory = psutil.Process().memory_info().rss
modules, cpu, start = set(sys.modules), time.process_time(), time.perf_counter()
import celery_external
took, used = time.perf_counter() - start, time.process_time() - cpu
print(json.dumps({{
    "time": 1000 * took,
    "cpu": 1000 * used,
    "memory": (psutil.Process().memory_info().rss - memory) / 1e6,
    "modules": len(set(sys.modules) - modules),
    "heavy": len((set(sys.modules) - modules) & {heavy!r}),
}}))
"""
UNITS = {"time": "ms", "cpu": "ms", "memory": "MB", "modules": "modules", "heavy": "packages"}


def measure(_rig: Rig, records: Records, rounds: int) -> None:
    """Each time in an interpreter of its own; the first round fills the caches."""
    for number_of_round in range(rounds + 1):
        found: dict[str, list[dict[str, float]]] = {case: [] for case in CASES}
        for case in random.sample([*CASES] * NUMBER, len(CASES) * NUMBER):
            found[case].append(_start(CASES[case]))
        for case, figures in found.items():
            for name, unit in UNITS.items() if number_of_round else ():
                value = median(figure[name] for figure in figures)
                records.add("start", case, value, unit, figure=name, round=number_of_round)


def _start(before: str) -> dict[str, float]:
    script = SCRIPT.format(before=before, heavy=HEAVY)
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
