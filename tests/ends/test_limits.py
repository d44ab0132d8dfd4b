"""Time limits: in the trigger, while an outcome is handed on, and after Celery was told."""

from __future__ import annotations

from typing import Any

import pytest

from tests.ends.scene import EARLY_ON_SQLITE, LATE_ON_SQLITE, Ended, Scene, failed, lost, succeeded

SOFT: dict[str, Any] = {"soft_time_limit": 1}
HARD: dict[str, Any] = {"time_limit": 1}

WHEN_TIMED_OUT = Ended("SUCCESS", "timed_out", "SUCCESS", error=None, steps=1, errbacks=0)


@EARLY_ON_SQLITE
@pytest.mark.parametrize(
    ("limit", "end"),
    [(SOFT, failed("SoftTimeLimitExceeded")), (HARD, lost())],
    ids=["soft", "hard"],
)
def test_a_trigger_exceeds_its_time_limit(
    scene: Scene, task: str, limit: dict[str, Any], end: Ended
) -> None:
    act = scene.start(task=task, **limit, plan={"trigger": "hold"})
    assert act.ended() == end
    assert act.count("triggers") == 1


@pytest.mark.parametrize("limit", [SOFT, HARD], ids=["soft", "hard"])
def test_a_trigger_exceeds_its_time_limit_after_an_early_signal(
    scene: Scene, limit: dict[str, Any]
) -> None:
    act = scene.start(**limit, plan={"trigger": "hold"})
    act.wait_held("trigger")
    act.succeed()
    scene.barrier()
    act.let_time_pass()
    assert act.ended() == succeeded()


def test_the_soft_limit_passes_in_on_timeout_and_is_what_the_hook_raised(scene: Scene) -> None:
    act = scene.start(**SOFT, plan={"on_timeout": "hold"})
    act.wait_parked()
    act.time_out()
    assert act.ended() == failed("SoftTimeLimitExceeded", kind="timed_out")
    assert act.count("places") == 1


@LATE_ON_SQLITE
def test_the_hard_limit_passes_in_on_timeout_and_the_outcome_stays_owed(
    scene: Scene, task: str
) -> None:
    act = scene.start(task=task, **HARD, plan={"on_timeout": "hold"})
    act.wait_parked()
    act.time_out()
    act.wait_held("on_timeout")
    scene.barrier()
    assert not act.job.settled
    act.go_on("on_timeout")
    act.let_time_pass()
    assert act.ended() == WHEN_TIMED_OUT


@pytest.mark.parametrize("limit", [SOFT, HARD], ids=["soft", "hard"])
@EARLY_ON_SQLITE
def test_a_limit_passes_while_the_next_step_is_published(
    scene: Scene, task: str, limit: dict[str, Any]
) -> None:
    act = scene.start(task=task, **limit, step={"hold": "publish"})
    act.wait_parked()
    act.succeed()
    act.wait_held("publish")
    scene.barrier()
    assert not act.job.settled
    assert act.count("errbacks") == 0
    act.go_on("publish")
    act.let_time_pass()
    assert act.ended() == succeeded()


@pytest.mark.parametrize("limit", [SOFT, HARD], ids=["soft", "hard"])
@LATE_ON_SQLITE
def test_a_limit_passes_when_celery_has_been_told(
    scene: Scene, task: str, limit: dict[str, Any]
) -> None:
    act = scene.start(task=task, **limit, plan={"on_success": "hold"})
    act.wait_parked()
    act.succeed()
    assert act.ended() == succeeded()


def test_a_limit_passes_when_a_failure_has_been_told(scene: Scene) -> None:
    act = scene.start(**HARD, plan={"on_failure": "hold"})
    act.wait_parked()
    scene.system.external.signal_failed(act.id, KeyError("signalled"))
    assert act.ended() == failed("KeyError")
