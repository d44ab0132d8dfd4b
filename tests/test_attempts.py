"""One job, several attempts: retried by Celery's settings, or replaced by another step."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, signature

from celery_external import (
    ExternalJobFailed,
    states,
)
from tests.systems import System


def test_a_failure_is_retried_by_celerys_own_settings(system: System) -> None:
    result: Any = chain(system.task("ask_again").s(), system.task("add").s(1)).apply_async()
    job = system.wait_parked(result.parent)
    for attempt in (1, 2):
        system.external.signal_failed(job, "flaky", attempt=attempt)
        system.wait_attempt(job, attempt + 1)
    system.external.signal_succeeded(job, 1, attempt=3)
    assert result.get(timeout=20) == 2
    events = [(entry.event, entry.attempt) for entry in system.get(job).history]
    assert events == [
        ("failed", 1), ("retried", 2), ("failed", 2), ("retried", 3), ("succeeded", 3),
    ]  # fmt: skip


def test_retries_run_out(system: System) -> None:
    result = system.task("ask_again").delay()
    for attempt in (1, 2, 3):
        system.wait_attempt(result, attempt)
        system.external.signal_failed(result, f"flaky {attempt}", attempt=attempt)
    with pytest.raises(ExternalJobFailed, match=r"^flaky 3$"):
        result.get(timeout=20)
    assert system.wait_settled(result).state == states.FAILURE


def test_a_trigger_may_retry_itself(system: System) -> None:
    result = system.task("retry_itself").delay()
    job = system.wait_parked(result)
    assert job.attempt == 2
    system.external.signal_succeeded(job, "second")
    assert result.get(timeout=20) == "second"
    assert system.lines("triggers").count(f"{job.id} 1") == 1
    assert system.lines("triggers").count(f"{job.id} 2") == 1


def test_a_trigger_may_become_an_ordinary_task(system: System) -> None:
    result: Any = chain(
        system.task("become").s(system.task("add").s(20, 20)), system.task("add").s(2)
    ).apply_async()
    assert result.get(timeout=20) == 42
    job = system.wait_settled(result.parent)
    assert (job.state, job.kind) == (states.SUCCESS, "continued")


def test_a_trigger_may_become_another_external_task(system: System) -> None:
    result: Any = chain(
        system.task("become").s(system.task("ask").s("instead")), system.task("add").s(2)
    ).apply_async()
    job = system.wait_parked(result.parent)
    assert (job.attempt, job.task, job.args) == (2, system.task("ask").name, ["instead"])
    system.external.signal_succeeded(job, 40)
    assert result.get(timeout=20) == 42


def test_a_trigger_may_become_a_chain_that_ends_in_an_external_task(system: System) -> None:
    steps = chain(system.task("add").s(1, 1), system.task("ask").s())
    result: Any = chain(
        system.task("become").s(signature(steps)), system.task("add").s(2)
    ).apply_async()
    job = system.wait_parked(result.parent)
    assert (job.attempt, job.args) == (2, [2])
    system.external.signal_succeeded(job, 40)
    assert result.get(timeout=20) == 42
