"""The app of the benchmarks: an external step, ordinary steps, and notes of when they ran."""

from __future__ import annotations

import os
import time
from typing import Any

from celery import Celery
from redis import Redis

from celery_external import ExternalTask
from celery_external.signals import sweep_ended

app = Celery("bench", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.update(
    external_database_url=os.environ["DATABASE_URL"],
    external_sweep_interval=float(os.environ.get("SWEEP_INTERVAL", "10")),
    worker_prefetch_multiplier=4,
    broker_connection_retry_on_startup=True,
    task_ignore_result=False,
    broker_pool_limit=64,
)

#: Where steps leave their notes: a list for each key.
notes = Redis.from_url(os.environ["NOTES_URL"])


@app.task(base=ExternalTask, name="bench.ask", timeout=7 * 86400, labels=["every"])
def ask(_given: Any = None) -> None:
    """Wait for the outside."""


@app.task(name="bench.work")
def work(given: Any = None) -> Any:
    """Do nothing, as an ordinary step."""
    return given


@app.task(name="bench.stamp")
def stamp(_given: Any = None) -> float:
    """Say when this step ended; every process of the machine reads the same clock."""
    return time.monotonic()


@app.task(name="bench.note")
def note(given: Any, key: str) -> None:
    """Note when this step began, and what the one before said."""
    now = time.monotonic()
    notes.rpush(key, f"{now!r} {given!r}")


def count_sweep(**_: Any) -> None:
    """Count the sweeps, beside the steps' notes."""
    notes.incr("sweeps")


# Only where it is asked for: of an idle sweep, this would be a good part.
if "SWEEP_INTERVAL" in os.environ:
    sweep_ended.connect(count_sweep)
