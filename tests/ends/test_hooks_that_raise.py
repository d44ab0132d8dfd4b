"""What a user's own hooks raise changes no outcome, and calls nobody twice."""

from __future__ import annotations

import pytest

from tests.ends.scene import EARLY_ON_SQLITE, LATE_ON_SQLITE, Scene, failed, succeeded
from tests.waiting import wait_for


@EARLY_ON_SQLITE
@pytest.mark.parametrize(
    ("hook", "door"),
    [
        ("on_success", "raise"),
        ("on_success", "reject"),
        ("after_return", "reject"),
        ("after_return", "exit"),
        ("on_parked", "raise"),
        ("on_parked", "reject"),
    ],
)
def test_a_hook_that_raises_after_a_success(scene: Scene, task: str, hook: str, door: str) -> None:
    act = scene.start(task=task, plan={hook: door})
    act.wait_parked()
    act.succeed()
    assert act.ended() == succeeded()
    assert act.count("places") == 1
    assert act.count("triggers") == 1


@LATE_ON_SQLITE
@pytest.mark.parametrize(
    ("hook", "door"),
    [
        ("on_failure", "raise"),
        ("on_failure", "reject"),
        ("on_failure", "exit"),
        ("after_return", "reject"),
    ],
)
def test_a_hook_that_raises_after_a_failure(scene: Scene, task: str, hook: str, door: str) -> None:
    act = scene.start(task=task, plan={hook: door})
    act.wait_parked()
    scene.system.external.signal_failed(act.id, KeyError("signalled"))
    assert act.ended() == failed("KeyError")
    assert act.count("places") == 1


@EARLY_ON_SQLITE
@pytest.mark.parametrize("door", ["raise", "reject"])
def test_on_failure_that_raises_after_the_triggers_own_failure(
    scene: Scene, task: str, door: str
) -> None:
    act = scene.start("raise", task=task, plan={"on_failure": door})
    assert act.ended() == failed("RuntimeError")
    assert act.count("triggers") == 1


@LATE_ON_SQLITE
@pytest.mark.parametrize("door", ["raise", "reject"])
def test_on_retry_that_raises(scene: Scene, task: str, door: str) -> None:
    act = scene.start(task=task, plan={"on_retry": door})
    act.wait_parked()
    scene.system.external.signal_failed(act.id, ConnectionError("try again"), attempt=1)
    scene.system.wait_attempt(act.id, 2)
    act.succeed()
    assert act.ended() == succeeded()
    assert act.count("triggers") == 2


@LATE_ON_SQLITE
@pytest.mark.parametrize("hook", ["before_start", "call"])
def test_what_raises_before_the_trigger_fails_the_job(scene: Scene, task: str, hook: str) -> None:
    act = scene.start(task=task, plan={hook: "raise"})
    assert act.ended() == failed("RuntimeError")
    assert act.count("triggers") == 0


@EARLY_ON_SQLITE
@pytest.mark.parametrize(
    ("hook", "door"), [("before_start", "raise"), ("call", "reject"), ("call", "ignore")]
)
def test_what_raises_before_a_resume_changes_no_outcome(
    scene: Scene, task: str, hook: str, door: str
) -> None:
    act = scene.start(task=task, plan={f"{hook} of a resume": door})
    act.wait_parked()
    act.succeed()
    wait_for(lambda: act.count("places") == 1, what="the resume")
    scene.barrier()
    assert not act.job.settled
    assert (act.count("steps"), act.count("errbacks")) == (0, 0)
    scene.system.write(f"mended-{act.name}")
    act.let_time_pass()
    assert act.ended() == succeeded()
