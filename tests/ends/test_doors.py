"""The doors by which a trigger may leave, with and without an outcome that came first."""

from __future__ import annotations

import pytest

from tests.ends.scene import EARLY_ON_SQLITE, LATE_ON_SQLITE, Ended, Scene, failed, lost, succeeded

#: Celery's own word for what leaves no state: the row says what became of the job.
IGNORED = Ended("REVOKED", "cancelled", "PENDING", error=None, steps=0, errbacks=0)


@EARLY_ON_SQLITE
@pytest.mark.parametrize(
    ("door", "end"),
    [
        ("raise", failed("RuntimeError")),
        ("reject", failed("Reject")),
        ("ignore", IGNORED),
        ("exit", lost()),
    ],
)
def test_a_trigger_leaves(scene: Scene, task: str, door: str, end: Ended) -> None:
    act = scene.start(door, task=task)
    assert act.ended() == end
    assert act.count("triggers") == 1


@LATE_ON_SQLITE
@pytest.mark.parametrize("door", ["raise", "reject", "requeue", "ignore", "exit", "retry"])
def test_an_early_signal_counts_by_whatever_door_the_trigger_leaves(
    scene: Scene, task: str, door: str
) -> None:
    act = scene.start(door, task=task, plan={"trigger": "hold"})
    act.wait_held("trigger")
    act.succeed()
    act.go_on("trigger")
    scene.barrier()
    act.let_time_pass()
    assert act.ended() == succeeded()
    assert act.count("triggers") == 1
    assert act.job.result == "signalled"


def test_a_trigger_that_has_its_message_requeued_runs_again(scene: Scene) -> None:
    act = scene.start("requeue once", task="act_late")
    act.wait_parked()
    act.succeed()
    assert act.ended() == succeeded()
    assert act.count("triggers") == 2


def test_a_message_that_was_acked_early_cannot_be_requeued(scene: Scene) -> None:
    act = scene.start("requeue once", task="act")
    scene.barrier()
    assert act.job.state == "STARTED"
    act.let_time_pass()
    assert act.ended() == lost()
    assert act.count("triggers") == 1
