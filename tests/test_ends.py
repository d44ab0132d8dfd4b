"""Ends that only the worker's main process sees."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import Any

import pytest
from celery import chain

from celery_external import (
    TriggerLostError,
    states,
)
from tests.systems import System
from tests.waiting import wait_for


def test_a_killed_trigger_is_lost_and_not_run_again_unasked(idle_system: System) -> None:
    result = idle_system.task("ask_slowly").apply_async(
        ("killed",), link_error=idle_system.task("on_error").s()
    )
    with idle_system.worker() as worker:
        wait_for(lambda: "killed" in idle_system.lines("started"), what="the trigger to run")
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(TriggerLostError, match="The process that ran the trigger is gone"):
            result.get(timeout=20)
        job = idle_system.wait_settled(result)
    assert (job.state, job.kind, job.attempt) == (states.FAILURE, "lost", 1)
    assert idle_system.count("errbacks", job.id) == 1
    assert idle_system.lines("started") == ["killed"]


def test_a_trigger_over_its_hard_time_limit_is_lost(idle_system: System) -> None:
    result = idle_system.task("ask_slowly").apply_async(("limited",), time_limit=1)
    with idle_system.worker():
        with pytest.raises(TriggerLostError, match=r"Hard time limit \(1s\) exceeded"):
            result.get(timeout=20)
        assert idle_system.wait_settled(result).kind == "lost"


def test_a_revoked_job_is_cancelled_and_no_resume_is_thrown_away(system: System) -> None:
    parked = system.wait_parked(system.task("ask").delay())
    system.app.control.revoke(parked.id)
    system.external.signal_succeeded(parked, "kept")
    assert system.wait_settled(parked).state == states.SUCCESS
    # Celery 5.6 shows REVOKED for as long as the job is parked; it ends as the row says.
    assert system.app.AsyncResult(parked.id).get(timeout=20) == "kept"
    waiting = system.task("ask").apply_async(countdown=3600)
    system.app.control.revoke(waiting.id)
    system.external.cancel_job(waiting)
    assert system.wait_settled(waiting).state == states.REVOKED


# --- Every pool ------------------------------------------------------------------------


@pytest.mark.parametrize("pool", ["solo", "threads"])
@pytest.mark.parametrize("conf", [{}, {"task_acks_late": True}], ids=["acks_early", "acks_late"])
def test_a_job_parks_and_goes_on_in_every_pool(
    make_system: Callable[..., System], pool: str, conf: dict[str, Any]
) -> None:
    system = make_system(**conf)
    result: Any = chain(system.task("ask_again").s(), system.task("add").s(1)).apply_async()
    with system.worker(pool=pool):
        job = system.wait_attempt(result.parent, 1)
        wait_for(lambda: system.queue_length() == 0, what="the message to be acked")
        system.external.signal_failed(job, "flaky", attempt=1)
        system.external.signal_succeeded(system.wait_attempt(job, 2), 1, attempt=2)
        assert result.get(timeout=20) == 2
        system.wait_settled(job)
