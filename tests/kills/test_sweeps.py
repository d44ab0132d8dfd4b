"""The sweep is killed half-way through a batch, and beat as it sends for the sweep."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

import pytest

from celery_external import states
from tests.kills.life import (
    APP,
    backend_state,
    check_that_nothing_is_left,
    deliveries,
    is_owed,
    kill_now,
    killed_at_the_gate,
    park,
    row_of,
    sweeping,
    wait_for_owed,
)
from tests.kills.stops import FileStop, LockStop, Stop, is_on_postgresql
from tests.processes import Beat, Process
from tests.systems import System
from tests.waiting import wait_for

TIMEOUT = 0.3


def make_sweep(env: dict[str, str]) -> Process:
    """One sweep, as cron runs it."""
    sweep = Process("celery", env=env, name="sweep")
    sweep.command += ["-A", APP, "external", "sweep"]
    return sweep


def park_until_late(system: System, number: int) -> list[str]:
    """Jobs whose deadline has passed, and nobody has seen it."""
    job_ids = [park(system, timeout=TIMEOUT)[0] for _ in range(number)]
    for job_id in job_ids:
        deadline = row_of(system, job_id)["deadline"]
        wait_for(lambda: datetime.now(UTC) > deadline, what="the deadline to pass")  # noqa: B023
    return job_ids


def check_that_all_time_out(system: System, job_ids: Sequence[str]) -> None:
    for job_id in job_ids:
        job = system.wait_settled(job_id)
        assert (job.state, job.kind) == (states.FAILURE, "timed_out")
        assert [entry.event for entry in job.history] == ["timed_out"]
        assert backend_state(system, job_id) == states.FAILURE
        assert system.count("errbacks", job_id) == 1
        assert deliveries(system, job_id) == 2
    check_that_nothing_is_left(system)


def stop_before_commit(system: System) -> Stop:
    """On PostgreSQL in the statement that has changed the jobs and writes the history."""
    if is_on_postgresql(system):
        return LockStop(system, "LOCK TABLE celery_external_history IN EXCLUSIVE MODE")
    return FileStop(system, "commit", "any")


def test_the_sweep_is_killed_before_it_commits(station: System) -> None:
    job_ids = park_until_late(station, 3)
    stop = stop_before_commit(station)
    with make_sweep(station.env) as sweep:
        stop.wait()
        kill_now(sweep)
        stop.clear()
    for job_id in job_ids:
        job = station.get(job_id)
        assert (job.state, job.history) == (states.PARKED, ())
        assert backend_state(station, job_id) == states.PARKED
    with sweeping(station):
        check_that_all_time_out(station, job_ids)


@pytest.mark.parametrize("sent", [0, 1])
def test_the_sweep_is_killed_between_its_sends(station: System, sent: int) -> None:
    job_ids = park_until_late(station, 3)
    with killed_at_the_gate(station, make_sweep, nth=sent + 1):
        owed = wait_for_owed(station, job_ids, len(job_ids) - sent)
        for job_id in job_ids:
            row = row_of(station, job_id)
            assert (row["state"], row["kind"], row["sends"]) == ("FAILURE", "timed_out", 0)
            assert deliveries(station, job_id) == (1 if job_id in owed else 2)
        assert {backend_state(station, job_id) for job_id in owed} == {states.PARKED}
    with sweeping(station):
        check_that_all_time_out(station, job_ids)
    assert [station.get(job_id).sends for job_id in job_ids] == [
        1 if job_id in owed else 0 for job_id in job_ids
    ]


def test_the_sweep_is_killed_as_it_repeats(station: System) -> None:
    job_ids = park_until_late(station, 1)
    (job_id,) = job_ids
    with killed_at_the_gate(station, make_sweep):
        wake_at = row_of(station, job_id)["wake_at"]
    wait_for(lambda: datetime.now(UTC) > wake_at, what="the repeat to be due")
    with killed_at_the_gate(station, make_sweep):
        # The repeat is counted, and was not made.
        assert (row_of(station, job_id)["sends"], is_owed(station, job_id)) == (1, True)
        assert deliveries(station, job_id) == 1
    with sweeping(station):
        check_that_all_time_out(station, job_ids)
    assert station.get(job_id).sends == 2


def test_beat_is_killed_as_it_sends_for_the_sweep(station: System) -> None:
    job_ids = park_until_late(station, 1)
    (job_id,) = job_ids

    def make_beat(env: dict[str, str]) -> Process:
        return Beat(APP, env=env)

    with killed_at_the_gate(station, make_beat, marker=rb"celery_external\.sweep"):
        job = station.get(job_id)
        assert (job.state, job.history) == (states.PARKED, ())
    with make_beat(station.env):
        check_that_all_time_out(station, job_ids)
