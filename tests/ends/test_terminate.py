"""``terminate``, and processes that are killed: in the trigger, and while an outcome goes on."""

from __future__ import annotations

import os
import signal

import pytest

from tests.ends.scene import Act, Ended, Scene, lost, succeeded

WHEN_TIMED_OUT = Ended("SUCCESS", "timed_out", "SUCCESS", error=None, steps=1, errbacks=0)
STAMP = "kind"


def end_process(act: Act, how: str) -> None:
    """End the process in which the job runs."""
    control = act.scene.system.app.control
    if how == "kill":
        (child,) = act.scene.worker.children()
        os.kill(child, signal.SIGKILL)
    elif how == "stamp":
        act.scene.revoke_stamped(STAMP, act.name, terminate=True)
    else:
        control.revoke(act.id, terminate=True, signal=how)


@pytest.mark.parametrize(
    ("scene", "task", "how"),
    [
        ("sqlite", "act", "SIGTERM"),
        ("postgresql", "act", "stamp"),
        ("sqlite", "act_late", "SIGKILL"),
        ("postgresql", "act_late", "SIGTERM"),
        ("sqlite", "act_late", "kill"),
        ("postgresql", "act_again", "SIGTERM"),
    ],
    indirect=["scene"],
)
def test_a_trigger_whose_process_is_ended_is_lost(scene: Scene, task: str, how: str) -> None:
    act = scene.start(task=task, stamp=STAMP, plan={"trigger": "hold"})
    act.wait_held("trigger")
    end_process(act, how)
    assert act.ended() == lost()
    assert act.count("triggers") == 1


def test_a_killed_trigger_that_is_to_be_rejected_runs_again(scene: Scene) -> None:
    act = scene.start(task="act_again", plan={"trigger": "hold"})
    act.wait_held("trigger")
    end_process(act, "kill")
    act.go_on("trigger")
    act.wait_parked()
    act.succeed()
    assert act.ended() == succeeded()
    assert act.count("triggers") == 2


@pytest.mark.parametrize(
    ("scene", "task", "how"),
    [
        ("sqlite", "act", "SIGTERM"),
        ("postgresql", "act_late", "stamp"),
        ("sqlite", "act_again", "SIGTERM"),
        ("postgresql", "act_late", "kill"),
    ],
    indirect=["scene"],
)
def test_an_outcome_whose_process_is_ended_stays_owed(scene: Scene, task: str, how: str) -> None:
    act = scene.start(task=task, stamp=STAMP, plan={"on_timeout": "hold"})
    act.wait_parked()
    act.time_out()
    act.wait_held("on_timeout")
    end_process(act, how)
    scene.barrier()
    assert not act.job.settled
    act.go_on("on_timeout")
    act.let_time_pass()
    assert act.ended() == WHEN_TIMED_OUT


@pytest.mark.parametrize(
    ("scene", "task", "how"),
    [
        ("sqlite", "act", "SIGTERM"),
        ("postgresql", "act_late", "stamp"),
    ],
    indirect=["scene"],
)
def test_an_early_signal_counts_when_the_trigger_is_terminated(
    scene: Scene, task: str, how: str
) -> None:
    act = scene.start(task=task, stamp=STAMP, plan={"trigger": "hold"})
    act.wait_held("trigger")
    act.succeed()
    end_process(act, how)
    scene.barrier()
    act.let_time_pass()
    assert act.ended() == succeeded()
