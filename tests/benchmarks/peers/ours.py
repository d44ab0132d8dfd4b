"""celery-external, through its public API."""

from __future__ import annotations

import sys
import time
from typing import Any

from celery import chain

from celery_external import get_job, signal_succeeded
from tests.benchmarks.app import app, ask, note
from tests.benchmarks.peers.peer import BULK, LIVE, OUTCOME, PATIENCE, TEXT, Act, Peer


class Measured(Peer):
    """A chain whose first step waits for the outside."""

    name = "ours"

    def create(self) -> Act:
        """Row and message of the chain's first step."""
        return lambda _: _start("none", BULK)

    def complete(self) -> Act:
        """The signal: the commit, then the send."""
        return lambda job_id: signal_succeeded(job_id, OUTCOME, attempt=1, by="alice", app=app)

    def begin(self, key: str) -> Any:
        """The job is parked."""
        job_id = _start(f"note:{key}", LIVE)
        until = time.monotonic() + PATIENCE
        while get_job(job_id, app=app).state != "PARKED":
            assert time.monotonic() < until, "the job does not park"
            time.sleep(0.02)
        return job_id

    def command(self) -> list[str]:
        """A worker of Celery's, of one process, as it comes."""
        return [*CELERY, "tests.benchmarks.app", *WORKER]


#: The same worker for us and for Celery by hand.
CELERY = [sys.executable, "-m", "celery", "-A"]
WORKER = ["worker", "--concurrency=1", "--loglevel=WARNING", "--queues", LIVE]


def _start(key: str, queue: str) -> Any:
    steps = ask.s({"text": TEXT}).set(queue=queue), note.s(key).set(queue=queue)
    last: Any = chain(*steps).apply_async()
    return last.parent.id
