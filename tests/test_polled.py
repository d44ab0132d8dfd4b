"""Real workers poll: a job ends without a signal, and a poller that hangs holds up nobody."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
from celery import chain

from celery_external import ExternalJobTimedOut
from tests.systems import System
from tests.waiting import wait_for


@pytest.fixture
def make_polled(make_system: Callable[..., System]) -> Callable[..., System]:
    """Makes the app of ``tests.apps.polled``."""
    return partial(make_system, tasks="tests.apps.polled", external_sweep_interval=0.2)


def say(system: System, reference: str, words: str) -> None:
    """Have the provider say something of a job, and wait until that has been asked for twice."""
    with (system.scratch / reference).open("a") as file:
        file.write(f"{words}\n")
    asked = system.count("polls", reference)
    wait_for(
        lambda: system.count("polls", reference) >= asked + 2,
        what=f"two polls of {reference} after {words!r}",
    )


def test_a_job_comes_to_its_end_by_polls_alone(make_polled: Callable[..., System]) -> None:
    system = make_polled(external_sweep_in_worker=True)
    started: Any = chain(system.task("render").s("cat"), system.task("echo").s()).apply_async()
    with system.worker():
        system.wait_parked(started.parent)
        say(system, "cat-1", "half")
        progress = system.get(started.parent).progress
        assert progress is not None
        assert (progress.current, progress.total) == (1, 2)
        say(system, "cat-1", "away")
        (system.scratch / "cat-2").write_text("a video of a cat\n")
        (system.scratch / "cat-1").write_text("no GPU\n")
        assert started.get(timeout=30) == "a video of a cat"
        job = system.wait_settled(started.parent)
    assert (job.attempt, job.completed_by) == (2, "poller")
    events = [(line.event, line.attempt, line.reason) for line in job.history]
    away = ("poll_failed", 1, "ConnectionError: the provider is away")
    assert [event for event in events if event != away] == [
        ("failed", 1, "no GPU"),
        ("retried", 2, None),
        ("succeeded", 2, None),
    ]
    assert events.count(away) >= 2


def test_a_poller_that_hangs_delays_no_deadline(make_polled: Callable[..., System]) -> None:
    system = make_polled()
    hanging = system.task("hang").delay()
    with system.worker(concurrency=2), system.beat():
        wait_for(lambda: system.lines("hanging"), what="the poller to hang")
        for _ in range(3):
            step = system.task("ask").s().set(timeout=0.2)
            result = chain(step, system.task("echo").s()).apply_async()
            with pytest.raises(ExternalJobTimedOut):
                result.get(timeout=30)
        # It holds its own place, and is not asked once more meanwhile.
        assert system.lines("hanging") == ["1"]
        assert system.get(hanging).is_open
        system.write("go-on")
        assert hanging.get(timeout=30) == "at last"
        assert system.wait_settled(hanging).completed_by == "poller"
