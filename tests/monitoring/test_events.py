"""Celery's events: a monitor shows PARKED, then how the job ended and who handed it on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest

from celery_external import Job
from tests.monitoring.watch import Watch
from tests.systems import System
from tests.waiting import wait_for

#: Seconds that Celery's tracer needs for a resume, at the most, on a busy machine.
A_RESUME = 5.0
WEEK_AGO = "UPDATE celery_external_job SET parked_at = :then, started_at = :then WHERE id = :id"
LAST_WEEK = "2026-01-01 00:00:00.000000"

FIRST = ["task-received", "task-started", "task-parked"]
RESUME = ["task-received", "task-started"]


def wait_ended(watch: Watch, job_id: str, event: str) -> list[str]:
    """The types of all events of a job, when this one has come."""
    wait_for(lambda: event in watch.kinds_of(job_id), what=f"{event} of {job_id}")
    return watch.kinds_of(job_id)


def park(system: System, watch: Watch, *args: Any, task: str = "ask") -> Job:
    job = system.wait_parked(system.task(task).delay(*args))
    watch.wait_state(job.id, "PARKED")
    return job


def test_a_job_is_parked_then_a_success_of_the_worker(
    watched: System, hostname: str, watch: Watch
) -> None:
    job = park(watched, watch, "?")
    shown = watch.task(job.id)
    assert (shown.state, shown.worker.hostname, shown.name) == ("PARKED", hostname, job.task)
    assert watch.kinds_of(job.id) == FIRST
    watched.external.signal_succeeded(job, "yes")
    shown = watch.wait_state(job.id, "SUCCESS")
    assert (shown.worker.hostname, shown.result, shown.name) == (hostname, "'yes'", job.task)
    assert watch.kinds_of(job.id) == [*FIRST, *RESUME, "task-succeeded"]


def test_it_is_parked_also_while_its_resume_is_under_way(watched: System, watch: Watch) -> None:
    job = park(watched, watch, "?")
    watched.external.signal_succeeded(job, "yes")
    wait_ended(watch, job.id, "task-succeeded")
    assert [event["shown"] for event in watch.of(job.id)] == [
        "RECEIVED", "STARTED", "PARKED", "PARKED", "PARKED", "SUCCESS",
    ]  # fmt: skip


def test_the_runtime_is_the_resumes_and_not_the_wait(watched: System, watch: Watch) -> None:
    job = park(watched, watch, "?")
    watched.execute(WEEK_AGO, then=LAST_WEEK, id=job.id)
    watched.external.signal_succeeded(job, "yes")
    shown = watch.wait_state(job.id, "SUCCESS")
    assert 0 < shown.runtime < A_RESUME


Ends = Callable[[System, Job], object]


def fail(system: System, job: Job) -> None:
    system.external.signal_failed(job, "no")


def cancel(system: System, job: Job) -> None:
    system.external.cancel_job(job)


def time_out(system: System, job: Job) -> None:
    system.external.extend_job(job, timeout=0.01)


@pytest.mark.parametrize(
    ("end", "error"),
    [
        (fail, "ExternalJobFailed('no')"),
        (cancel, "ExternalJobCancelled('')"),
        (time_out, "ExternalJobTimedOut('The deadline has passed')"),
    ],
    ids=["failed", "cancelled", "timed out"],
)
def test_every_bad_end_is_a_failure(
    watched: System, hostname: str, watch: Watch, end: Ends, error: str
) -> None:
    job = park(watched, watch, "?")
    end(watched, job)
    shown = watch.wait_state(job.id, "FAILURE")
    assert (shown.worker.hostname, shown.exception, shown.revoked) == (hostname, error, None)
    assert watch.kinds_of(job.id) == [*FIRST, *RESUME, "task-failed"]


def test_what_is_cancelled_before_its_trigger_is_a_failure_too(
    watched: System, watch: Watch
) -> None:
    result = watched.task("ask").apply_async(["later"], countdown=3600)
    wait_ended(watch, result.id, "task-received")
    watched.external.cancel_job(result)
    assert "task-revoked" not in wait_ended(watch, result.id, "task-failed")
    assert watch.task(result.id).state == "FAILURE"


def test_a_retry_parks_again(watched: System, watch: Watch) -> None:
    job = park(watched, watch, task="ask_again")
    watched.external.signal_failed(job, "try again")
    watched.wait_attempt(job.id, 2)
    wait_for(lambda: watch.kinds_of(job.id).count("task-parked") == 2, what="the second park")
    assert watch.task(job.id).state == "PARKED"
    # Celery's own word for it, and no other. It is said after the next attempt was sent.
    assert Counter(watch.kinds_of(job.id)) == Counter([*FIRST, *RESUME, "task-retried", *FIRST])
    watched.external.signal_succeeded(job.id, "yes")
    assert watch.wait_state(job.id, "SUCCESS").retries == 1


def test_what_is_run_again_after_a_failure_is_parked_again(watched: System, watch: Watch) -> None:
    job = park(watched, watch, "?")
    watched.external.signal_failed(job, "no")
    watch.wait_state(job.id, "FAILURE")
    watched.wait_settled(job.id)
    watched.external.rerun_job(job.id)
    watch.wait_state(job.id, "PARKED")
    watched.external.signal_succeeded(job.id, "yes")
    watch.wait_state(job.id, "SUCCESS")


def test_a_step_in_a_jobs_place_is_no_retry(watched: System, watch: Watch) -> None:
    job = park(watched, watch, "?")
    watched.external.signal_succeeded(job, continue_with=watched.task("ask_bound").s("next"))
    watched.wait_attempt(job.id, 2)
    wait_for(lambda: watch.kinds_of(job.id).count("task-parked") == 2, what="the second park")
    shown = watch.task(job.id)
    assert (shown.state, shown.name) == ("PARKED", "tests.apps.core.ask_bound")
    assert "task-retried" not in watch.kinds_of(job.id)
    watched.external.signal_succeeded(job.id, "yes")
    watch.wait_state(job.id, "SUCCESS")


def test_who_only_signals_is_no_worker(watched: System, hostname: str, watch: Watch) -> None:
    job = park(watched, watch, "?")
    watched.external.signal_progress(job, 1, 2)
    watched.external.extend_job(job, timeout=60)
    watched.external.signal_succeeded(job, "yes")
    watch.wait_state(job.id, "SUCCESS")
    assert set(watch.state.workers) == {hostname}
