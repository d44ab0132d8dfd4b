"""What those who are killed have in common: their settings, and how a job is looked at."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from celery import chain

from celery_external.installation import installation_of
from celery_external.store import read
from celery_external.store.database import Row
from celery_external.sweep import Sweeper
from tests.kills.gate import Gate
from tests.processes import Process, Worker, is_running
from tests.systems import System
from tests.waiting import wait_for

APP = "tests.kills.app"
GRACE = {"external_resume_grace": 1, "external_pending_grace": 1}
SWEEPING = {"external_sweep_in_worker": True, "external_sweep_interval": 0.2}
LONG = 3600
#: Who waits for the confirmation of what it has published stops where a gate holds it.
CONFIRM = {"confirm_publish": True}
#: Each of the library's messages has it once.
MESSAGE = rb"external_attempt"


def with_conf(system: System, **conf: object) -> dict[str, str]:
    """The system's environment for a process with settings of its own."""
    return {**system.env, "CONF": json.dumps(conf)}


def row_of(system: System, job_id: str) -> Row:
    """The job's row as it stands."""
    installation = installation_of(system.app)
    with installation.database.alone() as tx:
        row = read.get(tx, installation.namespace, job_id)
    assert row is not None, job_id
    return row


def is_owed(system: System, job_id: str) -> bool:
    """Whether the job has an outcome that Celery has not been told of."""
    row = row_of(system, job_id)
    return row["kind"] is not None and row["wake_at"] is not None


def wait_for_owed(system: System, job_ids: Sequence[str], number: int) -> list[str]:
    """Wait until no more of the jobs than this are owed; return which."""

    def look() -> list[list[str]]:
        owed = [job_id for job_id in job_ids if is_owed(system, job_id)]
        return [owed] if len(owed) == number else []

    return wait_for(look, what=f"{number} jobs to be owed")[0]


def backend_state(system: System, task_id: str) -> str:
    """What the result backend says."""
    return str(system.app.AsyncResult(task_id).state)


def deliveries(system: System, task_id: str) -> int:
    """How often a worker was given the task."""
    return system.count("delivered", task_id)


def park(system: System, **options: float) -> tuple[str, str]:
    """A parked job, and the step after it."""
    step = system.task("ask").s().set(**options).on_error(system.task("on_error").s())
    result: Any = chain(step, system.task("echo").s()).apply_async()
    system.wait_parked(result.parent)
    return result.parent.id, result.id


def check_that_nothing_is_left(system: System) -> None:
    """No job is owed, or waits for the sweep."""
    open_or_owed = [job.id for job in system.find_all() if not job.settled]
    assert open_or_owed == []
    assert system.external.sweep() == 0


@contextmanager
def sweeping(system: System) -> Iterator[None]:
    """Somebody sweeps, as a worker's main process does."""
    sweeper = Sweeper(installation_of(system.app))
    sweeper.start()
    try:
        yield
    finally:
        sweeper.stop()
        sweeper.join(timeout=20)


@contextmanager
def killed_at_the_gate(
    system: System,
    make: Callable[[dict[str, str]], Process],
    marker: bytes = MESSAGE,
    nth: int = 1,
) -> Iterator[None]:
    """A process, made from its environment, that is killed as it sends the marker."""
    gate = Gate(system.env["BROKER_URL"], marker, nth)
    with gate, make({**system.env, "BROKER_URL": gate.url}) as process:
        gate.wait()
        kill_now(process)
        yield


def kill_now(process: Process) -> None:
    """SIGKILL what is still running; it is gone on return."""
    assert process.returncode is None
    process.kill()
    assert process.returncode == -signal.SIGKILL


def kill_children(worker: Worker) -> None:
    """SIGKILL the processes of a worker's pool, and not the worker; they are gone on return."""
    children = worker.children()
    assert children
    for child in children:
        os.kill(child, signal.SIGKILL)
    wait_for(lambda: not any(is_running(child) for child in children), what="the children to end")
    assert worker.returncode is None
