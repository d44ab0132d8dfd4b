"""A real Flower: it shows PARKED, then how the job ended, by which worker, in how long."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest

from celery_external import Job
from tests.processes import Process, Worker
from tests.servers import find_free_port
from tests.systems import System
from tests.waiting import wait_for

#: As they are in the histogram: jobs that have waited for a week count as seconds.
LONGEST_RUNTIME = 10.0
LAST_WEEK = "2026-01-01 00:00:00.000000"
WAIT_A_WEEK = "UPDATE celery_external_job SET parked_at = :then, started_at = :then WHERE id = :id"


class Flower:
    """A Flower process and its HTTP API."""

    def __init__(self, system: System) -> None:
        port = find_free_port()
        self.url = f"http://127.0.0.1:{port}"
        self.process = Process(
            "celery",
            *("-A", system.tasks, "flower", "--address=127.0.0.1", f"--port={port}"),
            env={**system.env, "FLOWER_UNAUTHENTICATED_API": "true"},
            ready="Connected to",
            name="flower",
        )

    def read(self, path: str) -> str:
        """What it answers."""
        with urlopen(self.url + path, timeout=20) as answer:  # noqa: S310 - our own server
            text: str = answer.read().decode()
        return text

    def ask(self, path: str) -> Any:
        """What its API answers; None: it does not know of it."""
        try:
            return json.loads(self.read(f"/api/{path}"))
        except HTTPError as problem:
            if problem.code != 404:
                raise
            return None

    def info(self, job: Job) -> dict[str, Any]:
        """What it knows of a job."""
        return self.ask(f"task/info/{job.id}") or {}

    def wait_shown(self, job: Job, state: str) -> dict[str, Any]:
        """Wait until it shows a job in a state."""

        def look() -> dict[str, Any] | None:
            found = self.info(job)
            return found if found.get("state") == state else None

        found = wait_for(look, what=f"Flower to show {job.id} as {state}")
        assert found is not None
        return found

    def measure(self, name: str, **labels: str) -> dict[str, float]:
        """The samples of one metric that have these labels, by their other label."""
        found: dict[str, float] = {}
        for line in self.read("/metrics").splitlines():
            sample = re.fullmatch(rf"{name}{{(.*)}} (\S+)", line)
            if sample is None:
                continue
            given = dict(re.findall(r'(\w+)="([^"]*)"', sample[1]))
            if given.items() >= labels.items():
                rest = {k: v for k, v in given.items() if k not in labels}
                found[",".join(rest.values())] = float(sample[2])
        return found


@pytest.fixture(scope="module")
def flower(watched_worker: tuple[System, Worker]) -> Iterator[Flower]:
    """Flower, which knows the worker."""
    system, worker = watched_worker
    made = Flower(system)
    with made.process:
        wait_for(
            lambda: worker.hostname in (made.ask("workers") or {}), what="Flower to know the worker"
        )
        # It is there when it takes events, and not before.
        wait_for(lambda: is_listening(made, system), what="Flower to take events")
        yield made


def is_listening(flower: Flower, system: System) -> bool:
    """Whether it has seen a task that was started just now."""
    result = system.task("echo").delay()
    result.get(timeout=30)
    return flower.ask(f"task/info/{result.id}") is not None


def park(system: System, flower: Flower) -> Job:
    job = system.wait_parked(system.task("ask").delay("?"))
    flower.wait_shown(job, "PARKED")
    return job


def test_it_shows_parked_then_success(watched: System, hostname: str, flower: Flower) -> None:
    job = park(watched, flower)
    shown = flower.info(job)
    assert (shown["name"], shown["worker"], shown["args"]) == (job.task, hostname, "('?',)")
    assert job.id in flower.ask(f"tasks?state=PARKED&taskname={job.task}")
    watched.external.signal_succeeded(job, "yes")
    shown = flower.wait_shown(job, "SUCCESS")
    assert (shown["worker"], shown["result"]) == (hostname, "'yes'")
    assert job.id not in flower.ask("tasks?state=PARKED")


def test_it_shows_parked_then_failure(watched: System, hostname: str, flower: Flower) -> None:
    job = park(watched, flower)
    watched.external.signal_failed(job, "no")
    shown = flower.wait_shown(job, "FAILURE")
    assert (shown["worker"], shown["exception"]) == (hostname, "ExternalJobFailed('no')")


def test_a_cancelled_job_is_a_failure(watched: System, flower: Flower) -> None:
    job = park(watched, flower)
    watched.task("ask").AsyncResult(job.id).revoke()
    shown = flower.wait_shown(job, "FAILURE")
    assert (shown["revoked"], shown["exception"][:20]) == (None, "ExternalJobCancelled")


def test_what_was_run_again_is_parked_again(watched: System, flower: Flower) -> None:
    job = park(watched, flower)
    watched.external.signal_failed(job, "no")
    flower.wait_shown(job, "FAILURE")
    watched.wait_settled(job.id)
    watched.external.rerun_job(job.id)
    flower.wait_shown(job, "PARKED")
    watched.external.signal_succeeded(job.id)
    flower.wait_shown(job, "SUCCESS")


def test_a_wait_is_no_runtime(watched: System, hostname: str, flower: Flower) -> None:
    job = park(watched, flower)
    watched.execute(WAIT_A_WEEK, then=LAST_WEEK, id=job.id)
    before = flower.measure("flower_task_runtime_seconds_sum", worker=hostname)
    watched.external.signal_succeeded(job, "yes")
    shown = flower.wait_shown(job, "SUCCESS")
    after = flower.measure("flower_task_runtime_seconds_sum", worker=hostname)
    assert 0 < shown["runtime"] < LONGEST_RUNTIME
    assert 0 < after[job.task] - before.get(job.task, 0) < LONGEST_RUNTIME


def test_no_job_leaves_a_worker_busy(watched: System, hostname: str, flower: Flower) -> None:
    job = park(watched, flower)
    assert flower.measure("flower_worker_prefetched_tasks", worker=hostname)[job.task] == 0
    active: Any = watched.app.control.inspect([hostname], limit=1, timeout=20).active()
    assert active == {hostname: []}


def test_there_are_no_other_workers(watched: System, hostname: str, flower: Flower) -> None:
    job = park(watched, flower)
    watched.external.signal_progress(job, 1, 2)
    watched.external.signal_succeeded(job, "yes")
    flower.wait_shown(job, "SUCCESS")
    assert list(flower.ask("workers")) == [hostname]
    online = flower.measure("flower_worker_online")
    assert list(online) == [hostname]
