"""Hosts that disagree about the time: the database's clock says what is due."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from celery_external import states
from tests.processes import REPOSITORY, Process
from tests.systems import System

HOUR = 3600


def shifted(process: Process, seconds: int) -> Process:
    """The process with a clock that is wrong by so much."""
    process.env["PYTHONPATH"] = str(REPOSITORY / "tests" / "wrong_clock")
    process.env["CLOCK_OFFSET"] = str(seconds)
    return process


def test_an_hour_between_beat_and_the_worker(make_system: Callable[..., System]) -> None:
    system = make_system(external_sweep_interval=0.2, external_resume_grace=1)
    ask = system.task("ask")
    soon = datetime.now(UTC) + timedelta(seconds=3)
    long = ask.apply_async(timeout=HOUR / 2)
    by_timeout = ask.apply_async(timeout=0.5)
    by_deadline = ask.apply_async(deadline=soon)
    by_heartbeat = system.task("ask_with_heartbeat").delay()
    in_time = ask.apply_async(expires=HOUR / 2)
    worker, beat = shifted(system.worker(), HOUR), shifted(system.beat(), -HOUR)
    with worker, beat:
        for result in (by_timeout, by_deadline, by_heartbeat):
            job = system.wait_settled(result)
            assert (job.state, job.kind) == (states.FAILURE, "timed_out")
        for result in (long, in_time):
            assert system.wait_parked(result).kind is None
        late = system.wait_settled(by_deadline)
        assert late.completed_at is not None
        assert late.completed_at >= soon
        system.external.signal_succeeded(long, "in time")
        assert long.get(timeout=30) == "in time"


def test_an_hour_between_the_worker_and_who_signals(make_system: Callable[..., System]) -> None:
    system = make_system(external_sweep_interval=0.2)
    result = system.task("ask").apply_async(timeout=HOUR / 2)
    with shifted(system.worker(), -HOUR):
        job = system.wait_parked(result)
        assert job.parked_at is not None
        assert abs(job.parked_at - datetime.now(UTC)) < timedelta(minutes=5)
        extended = system.external.extend_job(job, timeout=HOUR)
        assert extended.deadline is not None
        assert extended.deadline > datetime.now(UTC) + timedelta(seconds=HOUR - 300)
        assert system.external.sweep() == 0
        assert system.external.signal_succeeded(job, 1).status == "applied"
        assert result.get(timeout=30) == 1
