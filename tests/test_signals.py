"""A signal from anywhere, and the canvas goes on; cancelled and run again."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa
from celery import chain
from sqlalchemy.orm import Session

from celery_external import (
    ExternalJobCancelled,
    ExternalJobFailed,
    JobAlreadyCompletedError,
    RerunRefusedError,
    StaleAttemptError,
    states,
)
from tests.systems import System
from tests.waiting import wait_for


def test_a_failure_is_raised_with_its_reason(system: System) -> None:
    result = system.task("ask").apply_async(link_error=system.task("on_error").s())
    system.external.signal_failed(system.wait_parked(result), "declined", by="bob")
    with pytest.raises(ExternalJobFailed, match=r"^declined$"):
        result.get(timeout=20)
    wait_for(lambda: system.count("errbacks", result.id) == 1, what="the errback")
    job = system.wait_settled(result)
    assert (job.state, job.reason, job.completed_by) == (states.FAILURE, "declined", "bob")


def test_a_failure_may_be_the_exception_to_raise(system: System) -> None:
    result = system.task("ask").delay()
    system.external.signal_failed(system.wait_parked(result), KeyError("size"))
    with pytest.raises(KeyError, match="size"):
        result.get(timeout=20)


def test_an_exception_that_cannot_be_carried_is_raised_by_its_words(system: System) -> None:
    class Local(Exception):  # noqa: N818 - nothing outside this function can import it
        pass

    result = system.task("ask").delay()
    system.external.signal_failed(system.wait_parked(result), Local("secret handshake"))
    with pytest.raises(ExternalJobFailed, match=r"^Local: secret handshake$"):
        result.get(timeout=20)


def test_a_signal_before_the_trigger_means_it_never_runs(idle_system: System) -> None:
    result: Any = chain(idle_system.task("ask").s(), idle_system.task("add").s(1)).apply_async()
    receipt = idle_system.external.signal_succeeded(result.parent, 1)
    assert (receipt.early, receipt.sent) == (True, True)
    with idle_system.worker():
        assert result.get(timeout=20) == 2
        idle_system.wait_settled(result.parent)
        wait_for(lambda: idle_system.queue_length() == 0, what="the trigger's message to be taken")
    assert idle_system.lines("triggers") == []


def test_a_start_that_is_still_to_come_is_completed_in_its_own_transaction(
    idle_system: System,
) -> None:
    system = idle_system
    ask, echo = system.task("ask"), system.task("echo")
    engine = sa.create_engine(system.env["DATABASE_URL"])
    with Session(engine) as session:
        result: Any = chain(ask.s().set(countdown=2), echo.s()).apply_async(using=session)
        system.external.signal_succeeded(result.parent, "decided at once", using=session)
        session.commit()
    engine.dispose()
    with system.worker() as worker:
        # The start's own message, whose time is to come, and the outcome's.
        wait_for(lambda: worker.log().count(f"[{result.parent.id}] received") == 2, what="both")
        assert result.get(timeout=30) == "decided at once"
        worker.wait_for_log(f"[{result.parent.id}] ignored")
    assert system.lines("triggers") == []
    assert system.lines("echoes") == ['"decided at once"']
    assert [entry.event for entry in system.get(result.parent).history] == ["succeeded"]


@pytest.mark.parametrize("name", ["ask_slowly", "ask_slowly_and_fail"])
def test_a_signal_while_the_trigger_runs_is_handed_on_when_it_ends(
    system: System, name: str
) -> None:
    word = uuid4().hex
    result: Any = chain(system.task(name).s(word), system.task("add").s(1)).apply_async()
    wait_for(lambda: word in system.lines("started"), what="the trigger to run")
    receipt = system.external.signal_succeeded(result.parent, 1)
    assert (receipt.early, receipt.sent) == (True, False)
    system.write(f"go-{word}")
    assert result.get(timeout=20) == 2
    assert system.wait_settled(result.parent).parked_at is None


def test_a_trigger_that_looks_is_told_and_its_own_failure_changes_nothing(
    idle_system: System,
) -> None:
    system = idle_system
    step = system.task("ask_until_completed").s("looks").on_error(system.task("on_error").s())
    result: Any = chain(step, system.task("echo").s()).apply_async()
    with system.worker() as worker:
        wait_for(lambda: system.lines("started"), what="the trigger to run")
        assert system.external.signal_succeeded(result.parent, "decided", by="alice").early
        assert result.get(timeout=30) == "decided"
        job = system.wait_settled(result.parent)
        assert worker.log().count("was completed while its trigger ran") == 1
        assert "JobAlreadyCompletedError" in worker.log()
    assert (job.state, job.parked_at, job.completed_by) == (states.SUCCESS, None, "alice")
    assert [entry.event for entry in job.history] == ["succeeded"]
    assert (result.parent.state, system.lines("errbacks")) == (states.SUCCESS, [])


def test_a_repeated_signal_is_a_duplicate_and_another_outcome_is_refused(system: System) -> None:
    job = system.wait_parked(system.task("ask").delay())
    external = system.external
    external.signal_succeeded(job, {"ok": [1, 2]}, by="alice")
    assert external.signal_succeeded(job, {"ok": [1, 2]}, by="bob").status == "duplicate"
    with pytest.raises(JobAlreadyCompletedError) as refused:
        external.signal_failed(job, "too late", by="carol")
    assert refused.value.job.completed_by == "alice"
    history = system.get(job).history
    assert [(entry.event, entry.by) for entry in history] == [
        ("succeeded", "alice"),
        ("refused", "carol"),
    ]


def test_a_cancelled_job_is_revoked_and_never_retried(system: System) -> None:
    result = system.task("ask_again_for_anything").apply_async(
        link_error=system.task("on_error").s()
    )
    system.external.cancel_job(system.wait_parked(result), by="alice", reason="changed my mind")
    with pytest.raises(ExternalJobCancelled, match="changed my mind"):
        result.get(timeout=20)
    job = system.wait_settled(result)
    assert (job.state, job.attempt, result.state) == (states.REVOKED, 1, "FAILURE")
    wait_for(lambda: system.count("errbacks", job.id) == 1, what="the errback")


@pytest.mark.parametrize("before", [states.PARKED, states.FAILURE, states.REVOKED])
def test_a_rerun_is_the_next_attempt_and_the_chain_goes_on(system: System, before: str) -> None:
    result: Any = chain(system.task("ask").s(), system.task("add").s(1)).apply_async()
    job = system.wait_parked(result.parent)
    if before == states.FAILURE:
        system.external.signal_failed(job, "broken")
        system.wait_settled(job)
    elif before == states.REVOKED:
        system.external.cancel_job(job)
        system.wait_settled(job)
    rerun = system.external.rerun_job(job, by="op", reason="the provider is back")
    assert (rerun.attempt, rerun.state) == (2, states.PENDING)
    system.wait_parked(job)
    with pytest.raises(StaleAttemptError):
        system.external.signal_succeeded(job, 1, attempt=1)
    system.external.signal_succeeded(job, 1, attempt=2)
    wait_for(lambda: system.app.AsyncResult(result.id).state == "SUCCESS", what="the chain's end")
    assert system.app.AsyncResult(result.id).result == 2
    assert system.count("triggers", job.id) == 2
    assert "rerun" in [entry.event for entry in system.get(job).history]


def test_a_job_that_succeeded_is_not_run_again(system: System) -> None:
    job = system.wait_parked(system.task("ask").delay())
    system.external.signal_succeeded(job)
    system.wait_settled(job)
    with pytest.raises(RerunRefusedError, match="it is SUCCESS, not PARKED, FAILURE or REVOKED"):
        system.external.rerun_job(job)
