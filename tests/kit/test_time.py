"""Time passes in a test: deadlines, heartbeats and repeats, on both databases."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain

from celery_external import (
    ExternalTask,
    Job,
    OptionError,
    Progress,
    Succeeded,
    testing,
)
from celery_external.testing import Kit
from tests.kit.conftest import DAY, TWO_DAYS, start
from tests.systems import System


def test_two_days_pass_for_an_approval(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask").s(), timeout=DAY, link=shop.task("echo").s())
    other = start(kit, shop.task("ask").s(), timeout=3 * DAY)
    before = kit.external.get_job(other)

    assert kit.shift(TWO_DAYS) == 1

    job = kit.external.get_job(result)
    assert (job.state, job.kind, job.settled) == ("FAILURE", "timed_out", True)
    assert shop.lines("echoes") == []
    after = kit.external.get_job(other)
    assert after.state == "PARKED"
    for name in ("created_at", "started_at", "parked_at", "deadline"):
        moved = getattr(before, name) - getattr(after, name)
        assert abs(moved - TWO_DAYS) < timedelta(milliseconds=2), name
    assert kit.shift(2.0 * DAY) == 1
    assert kit.external.get_job(other).kind == "timed_out"


@pytest.mark.parametrize("how", ["expire", "shift"])
def test_on_timeout_answers(kit: Kit, shop: System, how: str) -> None:
    asked = shop.task("ask_with_hook").s("external").set(timeout=DAY)
    result = start(kit, asked | shop.task("wrap").s("end"))
    job = kit.assert_parked()
    if how == "expire":
        gone_on = kit.expire(job)
    else:
        kit.shift(DAY + 1)
        gone_on = kit.external.get_job(job)
    assert shop.lines("on_timeout") == [f"{job.id} FAILURE timed_out"]
    # It goes on with another external step, in its place.
    assert (gone_on.state, gone_on.attempt, gone_on.task) == ("PARKED", 2, shop.task("ask").name)
    kit.signal(gone_on, Succeeded("late"))
    assert result.get(timeout=1) == ["end", "late"]


def test_only_one_job_expires(kit: Kit, shop: System) -> None:
    ask = shop.task("ask")
    one, other = (start(kit, ask.s(), timeout=DAY) for _ in range(2))
    assert kit.expire(one).kind == "timed_out"
    assert kit.external.get_job(other).state == "PARKED"


def test_a_job_without_a_deadline_does_not_expire(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask").s())
    with pytest.raises(OptionError) as raised:
        kit.expire(result)
    assert str(raised.value) == (
        f"job: {result.id} is PARKED and has no deadline: a timeout= counts from the park, "
        "and for a heartbeat_timeout= there is shift()"
    )
    kit.signal(result, Succeeded())
    with pytest.raises(OptionError, match=f"{result.id} is SUCCESS and cannot expire"):
        kit.expire(result)


def test_a_deadline_of_the_call_moves_with_the_clock(kit: Kit, shop: System) -> None:
    # Past its own deadline a job is not retried.
    deadline = datetime.now(UTC) + timedelta(days=1)
    results = [start(kit, shop.task("ask_again").s(), deadline=deadline) for _ in range(2)]
    assert kit.expire(results[0]).state == "FAILURE"
    kit.shift(TWO_DAYS)
    assert [kit.external.get_job(result).state for result in results] == ["FAILURE"] * 2
    assert len(shop.lines("triggers")) == 2


def test_heartbeats_keep_a_job_while_time_passes(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask").s(), heartbeat_timeout=3600)
    for _ in range(3):
        assert kit.shift(1800) == 0
        kit.signal(result, Progress(1))
    assert kit.shift(3601) == 1
    job = kit.external.get_job(result)
    assert (job.kind, job.reason) == ("timed_out", "No sign of life within the heartbeat timeout")


def test_a_message_that_was_lost_is_sent_again(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask").s())
    kit.external.signal_succeeded(result, 1)
    with shop.app.connection_for_write() as connection:
        assert shop.app.amqp.queues["celery"](connection.default_channel).purge() == 1
    assert kit.drain() == 0
    assert kit.sweep() == 0
    assert kit.shift(3600) == 1
    assert kit.external.get_job(result).settled


def test_pollers_ask_as_time_passes(kit: Kit, shop: System) -> None:
    @shop.app.task(base=ExternalTask, poll_interval=60, shared=False)
    def render(prompt: str) -> None:
        """Send it."""

    task: Any = render
    answers: list[Any] = [None, Progress(1, 2), Succeeded("a video")]

    @task.poller  # type: ignore[untyped-decorator]  # it is Any
    def look(jobs: Sequence[Job]) -> list[Any]:
        return [(job, answers.pop(0)) for job in jobs]

    result = start(kit, chain(task.s("a cat"), shop.task("wrap").s("end")))
    assert kit.shift(30) == 0
    for _ in range(3):
        assert not result.ready()
        assert kit.shift(3600) == 1
    assert result.get(timeout=1) == ["end", "a video"]
    assert answers == []


def test_what_is_in_the_queues_is_older_than_the_time_that_passes(kit: Kit, shop: System) -> None:
    result = shop.task("ask").apply_async(timeout=DAY)
    kit.shift(TWO_DAYS)
    assert kit.external.get_job(result).kind == "timed_out"


def test_history_moves_as_well_and_other_namespaces_do_not(shop: System, database_url: str) -> None:
    ask = shop.task("ask")
    with testing.in_memory(shop.app, external_database_url=database_url) as kit:
        result = start(kit, ask.s())
        before = kit.signal(result, Succeeded(), by="alice")
        kit.shift(DAY)
        after = kit.external.get_job(result)
        for old, new in ((before.completed_at, after.completed_at), (times(before), times(after))):
            assert old is not None
            assert new is not None
            assert abs(old - new - timedelta(days=1)) < timedelta(milliseconds=2)
        with testing.in_memory(shop.app, external_database_url=database_url) as other:
            other.shift(DAY)
            assert other.parked() == []
        assert kit.external.get_job(result).completed_at == after.completed_at


def times(job: Job) -> datetime:
    return job.history[0].at


@pytest.mark.parametrize("wrong", [0, -1, "a day", None])
def test_time_goes_on_only(memory: Kit, wrong: Any) -> None:
    with pytest.raises(OptionError, match="must be a positive number of seconds, not"):
        memory.shift(wrong)
