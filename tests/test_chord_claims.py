"""A chord's claim on Redis: who has it may be gone; while nobody is, it holds nobody up."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, chord

from celery_external import states
from tests.systems import System
from tests.waiting import wait_for


def test_the_last_member_of_a_failed_chord_is_told_once(system: System) -> None:
    errback = system.task("on_error").s()
    first, last = (system.task("ask").s(name).on_error(errback) for name in ("first", "last"))
    result: Any = chord([first, last], system.task("collect").s()).apply_async()
    for member in result.parent.results:
        job = system.wait_parked(member)
        system.external.signal_failed(job, "no")
        job = system.wait_settled(job)
        # Settled by the first message: nothing was sent again, and no errback called again.
        assert (job.state, job.sends) == (states.FAILURE, 0)
        assert system.count("errbacks", member.id) == 1


@pytest.mark.filterwarnings("ignore:Call to deprecated setex")  # by Celery's backend, here
def test_a_member_that_was_half_told_fails_the_chord_all_the_same(system: System) -> None:
    """As it is when a worker is killed between Celery's two writes for a chain's last step."""
    last = system.task("echo").s()
    member = chain(system.task("ask").s(), last)
    body = system.task("collect").s().on_error(system.task("on_error").s())
    result: Any = chord([member, system.task("ask").s()], body).apply_async()
    step, other = result.parent.results
    system.app.backend.store_result(step.id, RuntimeError("told before"), states.FAILURE)
    system.external.signal_succeeded(system.wait_parked(other), 1)
    system.external.signal_failed(system.wait_parked(step.parent), "no")
    wait_for(lambda: system.count("errbacks", result.id) == 1, what="the body's errback")
    system.wait_settled(step.parent)
