"""Nobody answers: deadlines and heartbeats, and what a timeout may be answered with."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain

from celery_external import (
    ExternalJobTimedOut,
    states,
)
from tests.systems import System


def test_nobody_answers_and_the_chain_fails(system: System) -> None:
    result: Any = chain(
        system.task("ask").s().set(timeout=0.2), system.task("echo").s()
    ).apply_async()
    with pytest.raises(ExternalJobTimedOut, match=r"^The deadline has passed$"):
        result.get(timeout=20)
    job = system.wait_settled(result.parent)
    assert (job.state, job.kind, job.completed_by) == (states.FAILURE, "timed_out", None)


def test_a_timeout_may_have_a_result(system: System) -> None:
    result = system.task("ask_with_default").delay()
    assert result.get(timeout=20) == {"answer": "none"}
    job = system.wait_settled(result)
    assert (job.state, job.kind, job.result) == (states.SUCCESS, "timed_out", {"answer": "none"})


def test_on_timeout_answers_once(system: System) -> None:
    result = system.task("ask_with_hook").delay("an answer")
    assert result.get(timeout=20) == "an answer"
    system.wait_settled(result)
    assert system.lines("on_timeout").count(f"{result.id} FAILURE timed_out") == 1


def test_on_timeout_may_raise(system: System) -> None:
    result = system.task("ask_with_hook").delay("raise")
    with pytest.raises(LookupError, match="nobody is there"):
        result.get(timeout=20)
    assert system.wait_settled(result).state == states.FAILURE


@pytest.mark.parametrize(
    ("step", "value"),
    [
        ("step", "went on"),
        ("chain", ["then", "went on"]),
        ("group", [1, 2]),
        ("chord", ["body", [1, 2]]),
    ],
)
def test_on_timeout_may_go_on_with_another_step(system: System, step: str, value: Any) -> None:
    result = system.task("ask_with_hook").delay(step)
    assert result.get(timeout=20) == value
    assert system.wait_settled(result).state == states.SUCCESS


def test_on_timeout_may_go_on_with_an_external_step(system: System) -> None:
    result: Any = chain(
        system.task("ask_with_hook").s("external"), system.task("wrap").s("last")
    ).apply_async()
    job = system.wait_attempt(result.parent, 2)
    assert job.args == ["went on"]
    system.external.signal_succeeded(job, "answered", attempt=2)
    assert result.get(timeout=20) == ["last", "answered"]
    assert [entry.event for entry in system.wait_settled(job).history][:2] == [
        "timed_out",
        "timeout_answered",
    ]


def test_a_timeout_is_retried_where_the_task_says_so(system: System) -> None:
    result = system.task("ask_again").apply_async(timeout=0.2)
    job = system.wait_attempt(result, 2)
    assert job.history[0].event == "timed_out"


def test_a_parked_job_without_signs_of_life_times_out(system: System) -> None:
    result = system.task("ask_with_heartbeat").delay()
    job = system.wait_settled(result)
    assert (job.kind, job.reason) == ("timed_out", "No sign of life within the heartbeat timeout")


def test_an_extended_job_outlives_its_timeout(system: System) -> None:
    result = system.task("ask").apply_async(timeout=3)
    job = system.wait_parked(result)
    longer = system.external.extend_job(job, timeout=3600, by="op", reason="holiday")
    assert job.deadline is not None
    assert longer.deadline is not None
    assert longer.deadline > job.deadline
    assert system.get(job).history[0].event == "extended"
