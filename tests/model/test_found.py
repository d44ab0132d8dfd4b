"""What the model has found, and what it finds seldom, each alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.model.values import OVER, PARKING, PUBLISHING, TELLING, TIMEOUT, TRIGGER
from tests.model.world import Delivery, World


@pytest.fixture
def example(world: World) -> Iterator[World]:
    with world.example():
        yield world


def start(world: World, *, retried: bool = False, **options: Any) -> str:
    """A job, and its message where it can be delivered."""
    job_id: str = world.tasks[retried].apply_async(**options).id
    world.new_messages()
    return job_id


def deliver(world: World, job_id: str, at: str, attempt: int = 1) -> Delivery:
    """Have the message taken."""
    delivery = world.deliver(job_id, attempt, redelivered=False, revoked=False)
    assert delivery.at == at
    return delivery


def go(delivery: Delivery, how: str, at: str) -> None:
    """Have the delivery go on."""
    delivery.go(how)
    assert delivery.at == at


def park(world: World, job_id: str) -> None:
    """Have the trigger run."""
    delivery = deliver(world, job_id, TRIGGER)
    go(delivery, "return", PARKING)
    go(delivery, "", OVER)


@pytest.mark.parametrize("expires", [1000, 3000])
@pytest.mark.parametrize("looks_first", ["sweep", "delivery"])
def test_what_was_over_first_ends_a_job_that_was_not_started(
    example: World, expires: int, looks_first: str
) -> None:
    job_id = start(example, expires=expires, deadline=example.at(2000))
    example.set_clock(9000)
    if looks_first == "sweep":
        example.external.sweep()
    else:
        deliver(example, job_id, TELLING if expires < 2000 else TIMEOUT)
    assert example.get(job_id)["kind"] == ("cancelled" if expires < 2000 else "timed_out")


def test_a_missed_heartbeat_is_retried_before_the_calls_deadline(example: World) -> None:
    job_id = start(example, retried=True, heartbeat_timeout=200, deadline=example.at(2000))
    park(example, job_id)
    example.set_clock(300)
    example.external.sweep()
    delivery = deliver(example, job_id, TIMEOUT)
    go(delivery, "default", PUBLISHING)
    go(delivery, "", OVER)
    assert (example.get(job_id)["state"], example.get(job_id)["attempt"]) == ("RETRY", 2)


def test_nothing_is_retried_after_the_calls_deadline(example: World) -> None:
    job_id = start(example, retried=True, timeout=500, deadline=example.at(2000))
    park(example, job_id)
    example.set_clock(2100)
    example.external.sweep()
    delivery = deliver(example, job_id, TIMEOUT)
    go(delivery, "default", TELLING)


def test_an_early_outcome_is_handed_on_by_a_trigger_that_replaces_itself(example: World) -> None:
    job_id = start(example)
    delivery = deliver(example, job_id, TRIGGER)
    example.external.signal_succeeded(job_id, 1)
    go(delivery, "replace", TELLING)
    go(delivery, "told", OVER)
    assert example.external.get_job(job_id).settled
    assert example.told == [(job_id, "SUCCESS", 1)]


def test_a_timeout_may_be_answered_by_a_canvas_that_ends_in_an_external_task(
    example: World,
) -> None:
    job_id = start(example, timeout=500)
    park(example, job_id)
    example.set_clock(600)
    example.external.sweep()
    delivery = deliver(example, job_id, TIMEOUT)
    go(delivery, "step", PUBLISHING)
    go(delivery, "", OVER)
    # The canvas's last step carries the job's id.
    example.tasks[False].apply_async(task_id=job_id, replaced_task_nesting=1)
    assert (example.get(job_id)["state"], example.get(job_id)["attempt"]) == ("PENDING", 2)


def test_a_park_does_not_count_once_another_runner_has_taken_over(example: World) -> None:
    job_id = start(example)
    first = deliver(example, job_id, TRIGGER)
    go(first, "return", PARKING)
    second = example.deliver(job_id, 1, redelivered=True, revoked=False)
    go(first, "", OVER)
    assert (second.at, example.get(job_id)["state"]) == (TRIGGER, "STARTED")


def test_a_late_release_leaves_the_claim_to_whoever_has_it(example: World) -> None:
    job_id = start(example)
    example.external.signal_succeeded(job_id, 1)
    first = deliver(example, job_id, TELLING)
    example.set_clock(400)
    deliver(example, job_id, TELLING)
    held = example.get(job_id)
    go(first, "failed", OVER)
    assert example.get(job_id) == held
