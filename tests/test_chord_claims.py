"""A chord's claim on Redis: who has it may be gone; while nobody is, it holds nobody up."""

from __future__ import annotations

from celery import chord

from celery_external import states
from tests.systems import System


def test_the_last_member_of_a_failed_chord_is_told_once(system: System) -> None:
    errback = system.task("on_error").s()
    first, last = (system.task("ask").s(name).on_error(errback) for name in ("first", "last"))
    result = chord([first, last], system.task("collect").s()).apply_async()
    for member in result.parent.results:
        job = system.wait_parked(member)
        system.external.signal_failed(job, "no")
        job = system.wait_settled(job)
        # Settled by the first message: nothing was sent again, and no errback called again.
        assert (job.state, job.sends) == (states.FAILURE, 0)
        assert system.count("errbacks", member.id) == 1
