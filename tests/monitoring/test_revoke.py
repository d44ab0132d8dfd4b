"""``AsyncResult.revoke`` of an external job cancels it, wherever the result comes from."""

from __future__ import annotations

import inspect
import logging
import pickle
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest
from celery import chain, group
from celery.result import AsyncResult

from celery_external import ExternalJobCancelled
from celery_external.results import ExternalResult
from tests.systems import System
from tests.waiting import wait_for


def test_it_takes_what_celerys_takes() -> None:
    theirs, ours = (inspect.signature(result.revoke) for result in (AsyncResult, ExternalResult))
    assert [(one.name, one.default) for one in theirs.parameters.values()] == [
        (one.name, one.default) for one in ours.parameters.values()
    ]


def from_the_call(system: System) -> tuple[Any, Any]:
    """Two ends of a canvas: what to revoke, and what is told of it."""
    result = system.task("ask").delay()
    return result, result


def from_its_id(system: System) -> tuple[Any, Any]:
    result = system.task("ask").delay()
    return system.task("ask").AsyncResult(result.id), result


def from_a_chain(system: System) -> tuple[Any, Any]:
    result = chain(system.task("ask").s(), system.task("echo").s()).apply_async()
    return result.parent, result


def from_a_group(system: System) -> tuple[Any, Any]:
    result: Any = group([system.task("ask").s()]).apply_async()
    return result.results[0], result.results[0]


def from_a_pickle(system: System) -> tuple[Any, Any]:
    result = system.task("ask").delay()
    return pickle.loads(pickle.dumps(result)), result  # noqa: S301 - our own


@pytest.mark.parametrize(
    "start", [from_the_call, from_its_id, from_a_chain, from_a_group, from_a_pickle]
)
def test_a_parked_job_is_cancelled(
    watched: System, start: Callable[[System], tuple[Any, Any]]
) -> None:
    result, told = start(watched)
    job = watched.wait_parked(result.id)
    assert result.revoke() is None
    revoked = watched.get(job)
    assert (revoked.state, revoked.kind, revoked.reason, revoked.completed_by) == (
        "REVOKED", "cancelled", "Revoked", None,
    )  # fmt: skip
    with pytest.raises(ExternalJobCancelled):
        told.get(timeout=30)
    assert watched.wait_settled(job.id).state == "REVOKED"


def test_a_settled_job_is_left_alone_quietly(
    watched: System, caplog: pytest.LogCaptureFixture
) -> None:
    result = watched.task("ask").delay()
    watched.wait_parked(result.id)
    watched.external.signal_succeeded(result, "yes")
    settled = watched.wait_settled(result.id)
    with caplog.at_level(logging.WARNING):
        result.revoke()
        result.revoke(terminate=True, signal="SIGKILL", wait=True, timeout=0.1)
    assert watched.get(result) == settled
    assert caplog.messages == []
    assert result.get(timeout=30) == "yes"


def test_to_revoke_twice_is_to_revoke_once(watched: System) -> None:
    result = watched.task("ask").delay()
    watched.wait_parked(result.id)
    result.revoke()
    result.revoke()
    assert [line.event for line in watched.wait_settled(result.id).history] == ["cancelled"]


def start_slowly(system: System) -> tuple[Any, str]:
    """A job whose trigger runs until the test writes ``go-NAME``."""
    name = uuid4().hex
    result = system.task("ask_slowly").delay(name)
    wait_for(lambda: name in system.lines("started"), what="the trigger to run")
    return result, name


def test_a_running_trigger_runs_to_its_end(watched: System) -> None:
    result, name = start_slowly(watched)
    result.revoke()
    assert not watched.get(result).settled
    watched.write(f"go-{name}")
    assert watched.wait_settled(result.id).state == "REVOKED"


def test_with_terminate_it_is_killed(watched: System) -> None:
    result, _ = start_slowly(watched)
    result.revoke(terminate=True, signal="SIGKILL")
    # Its file is never written. The sweep hands the outcome on.
    job = watched.wait_settled(result.id)
    assert (job.state, job.kind) == ("REVOKED", "cancelled")
    with pytest.raises(ExternalJobCancelled):
        result.get(timeout=30)


def test_a_trigger_whose_job_has_another_outcome_is_not_killed(watched: System) -> None:
    result, name = start_slowly(watched)
    watched.external.signal_succeeded(result, "early")
    result.revoke(terminate=True, signal="SIGKILL")
    # The worker has heard whatever it was told.
    assert watched.app.control.ping(timeout=20, limit=1)
    watched.write(f"go-{name}")
    # Its own worker hands the outcome on: nothing is lost, and nothing is waited for.
    job = watched.wait_settled(result.id)
    assert [line.event for line in job.history] == ["succeeded"]
    assert watched.lines("ended").count(name) == 1


def test_it_needs_no_worker(idle_system: System) -> None:
    result = idle_system.task("ask").delay()
    result.revoke()
    assert idle_system.get(result).state == "REVOKED"


def test_what_is_no_job_yet_is_revoked_by_celery(watched: System, hostname: str) -> None:
    name, queue = uuid4().hex, uuid4().hex
    # Nobody reads the queue, and nobody has made a row.
    watched.app.send_task("tests.apps.core.ask", queue=queue, task_id=name)
    watched.task("ask").AsyncResult(name).revoke()
    control: Any = watched.app.control
    assert control.ping([hostname], timeout=20, limit=1)
    assert control.add_consumer(queue, destination=[hostname], reply=True, limit=1, timeout=20)
    result: Any = watched.app.AsyncResult(name)
    wait_for(lambda: result.state == "REVOKED", what="Celery to have revoked it")
    assert name not in watched.lines("triggers")


def test_in_eager_mode_it_is_cancelled_here(make_system: Callable[..., System]) -> None:
    system = make_system(task_always_eager=True)
    result = system.task("ask").delay()
    assert result.state == "PARKED"
    result.revoke()
    job = system.get(result.id)
    assert (job.state, job.settled) == ("REVOKED", True)
