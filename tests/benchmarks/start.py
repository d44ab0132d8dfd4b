"""What ``import celery_external`` costs over ``import celery, sqlalchemy``."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from statistics import median

from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.processes import REPOSITORY

APP = "import sqlalchemy; from celery import Celery, Task; Celery('app').finalize()"
#: What is there before, and what is measured. Celery's package is empty until it is used; an app
#: has most of it, and without us the first one pays for it.
CASES = {
    "over import": ("import celery, sqlalchemy", "import celery_external"),
    "over an app": (APP, "import celery_external"),
    "an app alone": ("import celery, sqlalchemy", APP),
}
#: Fresh interpreters in a round, of each case.
NUMBER = 4
#: None of them is needed before it is used.
HEAVY = {"psycopg", "alembic", "flask", "django", "fastapi", "jinja2", "pydantic", "rich",
         "prometheus_client", "itsdangerous"}  # fmt: skip
SCRIPT = """
import gc, json, sys, time, psutil
{before}
gc.collect()
memory = psutil.Process().memory_info().rss
modules, cpu, start = set(sys.modules), time.process_time(), time.perf_counter()
{measured}
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
            found[case].append(_start(*CASES[case]))
        for case, figures in found.items():
            for name, unit in UNITS.items() if number_of_round else ():
                value = median(figure[name] for figure in figures)
                records.add("start", case, value, unit, figure=name, round=number_of_round)


def _start(before: str, measured: str) -> dict[str, float]:
    script = SCRIPT.format(before=before, measured=measured, heavy=HEAVY)
    # Without bytecode that is kept, it is the compiler that is measured.
    env = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, "-c", script],
        cwd=REPOSITORY, env=env, capture_output=True, text=True, check=True,
    )  # fmt: skip
    figures: dict[str, float] = json.loads(done.stdout)
    return figures
