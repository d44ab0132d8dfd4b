"""``expires`` is the time until a worker must have taken the job, and means nothing later."""

from __future__ import annotations

from uuid import uuid4

import pytest

from tests.ends.scene import (
    EARLY_ON_SQLITE,
    LATE_ON_SQLITE,
    LONG_AGO,
    Act,
    Scene,
    cancelled,
    succeeded,
)

EXPIRE = "UPDATE celery_external_job SET expires_at = :then WHERE id = :id"


def expire(act: Act) -> None:
    """Let the time pass until which a worker must have taken it."""
    act.scene.system.execute(EXPIRE, then=LONG_AGO, id=act.id)


@EARLY_ON_SQLITE
@pytest.mark.parametrize("seen_by", ["the worker", "the sweep"])
def test_it_passes_before_a_worker_takes_the_job(scene: Scene, task: str, seen_by: str) -> None:
    queue = uuid4().hex
    act = scene.start(task=task, queue=queue, expires=3600)
    expire(act)
    if seen_by == "the sweep":
        act.let_time_pass()
        assert act.job.state == "REVOKED"
    scene.read_queue(queue)
    assert act.ended() == cancelled()
    assert act.count("triggers") == 0
    assert act.job.reason == "Expired before it was started"


@LATE_ON_SQLITE
@pytest.mark.parametrize("state", ["STARTED", "PARKED", "owed"])
def test_it_passes_later(scene: Scene, task: str, state: str) -> None:
    act = scene.start(task=task, expires=3600, plan={"trigger": "hold"})
    act.wait_held("trigger")
    if state == "STARTED":
        expire(act)
    act.go_on("trigger")
    act.wait_parked()
    if state == "PARKED":
        expire(act)
        scene.system.external.sweep()
        assert act.job.state == "PARKED"
    busy = scene.occupy()
    act.succeed()
    if state == "owed":
        scene.wait_reserved(act)
        expire(act)
    scene.system.write(f"go-{busy}")
    assert act.ended() == succeeded()
    assert act.count("triggers") == 1
