"""A child of the pool is killed as ``on_timeout`` answers, and when the answer is in the row."""

from __future__ import annotations

from typing import Any

from celery import chain

from celery_external import states
from tests.kills.life import (
    backend_state,
    check_that_nothing_is_left,
    deliveries,
    is_owed,
    kill_children,
    row_of,
    sweeping,
)
from tests.kills.stops import FileStop
from tests.processes import Worker
from tests.systems import System
from tests.waiting import wait_for


def test_a_child_is_killed_while_a_timeout_is_answered(
    station: System, station_worker: Worker
) -> None:
    held, answered = start(station, "hold"), start(station, "answered")
    job_ids = [result.parent.id for result in (held, answered)]
    stop = FileStop(station, "publish", answered.parent.id)
    with sweeping(station):
        for job_id in job_ids:
            station.wait_job(job_id, lambda job: job.kind == "timed_out", "to time out")
    wait_for(lambda: "hold" in station.lines("holding"), what="on_timeout to be asked")
    stop.wait()
    rows = [row_of(station, job_id) for job_id in job_ids]
    assert [row["answer"] for row in rows] == [None, "succeeded"]
    assert all(row["claim"] and is_owed(station, row["id"]) for row in rows)
    assert {backend_state(station, job_id) for job_id in job_ids} == {states.PARKED}
    kill_children(station_worker)
    stop.clear()
    station.write("go-hold")
    with sweeping(station):
        for result, answer in ((held, "hold"), (answered, "answered")):
            job = station.wait_settled(result.parent.id)
            assert (job.state, job.kind, job.result) == (states.SUCCESS, "timed_out", answer)
            assert result.get(timeout=30) == answer
            assert backend_state(station, job.id) == states.SUCCESS
            assert deliveries(station, result.id) == 1
    # Whoever died before the answer was in the row is asked again, and nobody else.
    assert station.count("on_timeout", held.parent.id) == 2
    assert station.count("on_timeout", answered.parent.id) == 1
    check_that_nothing_is_left(station)


def start(system: System, answer: str) -> Any:
    """A job that times out at once, and the step after it."""
    step = system.task("ask_with_hook").s(answer)
    return chain(step, system.task("echo").s()).apply_async()
