"""Who starts, signals, cancels or reruns a job is killed when the row says so and nothing is sent.

A gate before the broker holds the message, and lets it perish with its sender.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from uuid import uuid4

import pytest

from celery_external import states
from tests.kills.life import (
    backend_state,
    check_that_nothing_is_left,
    deliveries,
    is_owed,
    killed_at_the_gate,
    park,
    row_of,
    sweeping,
    wait_for_owed,
)
from tests.processes import Process
from tests.systems import System


@dataclass(frozen=True)
class Caller:
    """What is done to a parked job, what its row says then, and how often it is still to park."""

    action: str
    state: str
    attempt: int = 1
    is_open: bool = False
    ends: str = states.SUCCESS

    def __str__(self) -> str:
        return self.action


CALLERS = [
    Caller("succeed", states.SUCCESS),
    Caller("succeed_using", states.SUCCESS),
    Caller("fail", states.FAILURE, ends=states.FAILURE),
    Caller("cancel", states.REVOKED, ends=states.FAILURE),
    Caller("rerun", states.PENDING, attempt=2, is_open=True),
]


def making(action: str, *job_ids: str) -> Callable[[dict[str, str]], Process]:
    """How to make the caller from its environment."""
    return lambda env: Process("tests.kills.caller", action, *job_ids, env=env)


@pytest.mark.parametrize("caller", CALLERS, ids=str)
def test_a_caller_is_killed_between_commit_and_send(station: System, caller: Caller) -> None:
    job_id, next_id = park(station)
    with killed_at_the_gate(station, making(caller.action, job_id)):
        row = row_of(station, job_id)
        assert (row["state"], row["attempt"]) == (caller.state, caller.attempt)
        assert (row["sends"], row["claim"]) == (0, None)
        assert is_owed(station, job_id) is not caller.is_open
        assert deliveries(station, job_id) == 1
        assert backend_state(station, job_id) == states.PARKED
    with sweeping(station):
        if caller.is_open:
            job = station.wait_attempt(job_id, caller.attempt)
            station.external.signal_succeeded(job, "again")
        job = station.wait_settled(job_id)
    assert backend_state(station, job_id) == caller.ends
    if caller.ends == states.SUCCESS:
        station.app.AsyncResult(next_id).get(timeout=30)
    else:
        assert station.count("errbacks", job_id) == 1
    assert deliveries(station, next_id) == (1 if caller.ends == states.SUCCESS else 0)
    # One for the trigger, one for the outcome, and one for each attempt more.
    assert deliveries(station, job_id) == 1 + caller.attempt
    # Who sent the outcome was the sweep; a rerun's message it was as well.
    assert job.sends == (0 if caller.is_open else 1)
    check_that_nothing_is_left(station)


@pytest.mark.parametrize("action", ["start", "start_using"])
def test_a_publisher_is_killed_between_commit_and_send(station: System, action: str) -> None:
    job_id = str(uuid4())
    with killed_at_the_gate(station, making(action, job_id)):
        row = row_of(station, job_id)
        assert (row["state"], row["kind"], row["sends"]) == (states.PENDING, None, 0)
        assert station.count("triggers", job_id) == deliveries(station, job_id) == 0
    with sweeping(station):
        station.wait_parked(job_id)
        station.external.signal_succeeded(job_id, "done")
        station.wait_settled(job_id)
    assert station.app.AsyncResult(job_id).get(timeout=30) == "done"
    assert station.count("triggers", job_id) == 1
    assert deliveries(station, job_id) == 2
    check_that_nothing_is_left(station)


@pytest.mark.parametrize("sent", [0, 1])
def test_a_signaller_of_many_is_killed_between_its_sends(station: System, sent: int) -> None:
    jobs = [park(station) for _ in range(3)]
    job_ids = [job_id for job_id, _ in jobs]
    with killed_at_the_gate(station, making("succeed_many", *job_ids), nth=sent + 1):
        owed = wait_for_owed(station, job_ids, len(jobs) - sent)
        assert [row_of(station, job_id)["state"] for job_id in job_ids] == [states.SUCCESS] * 3
        assert [deliveries(station, job_id) for job_id in owed] == [1] * len(owed)
    with sweeping(station):
        for job_id, next_id in jobs:
            job = station.wait_settled(job_id)
            assert job.sends == (1 if job_id in owed else 0)
            assert station.app.AsyncResult(next_id).get(timeout=30) == "succeed_many"
            assert backend_state(station, job_id) == states.SUCCESS
            assert deliveries(station, next_id) == 1
            assert deliveries(station, job_id) == 2
    check_that_nothing_is_left(station)
