"""``revoke`` by id and by stamp, in every state: what is undecided ends, no outcome is lost."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from uuid import uuid4

import pytest

from tests.ends.scene import EARLY_ON_SQLITE, Act, Scene, cancelled, succeeded

STAMP = "kind"


def by_id(act: Act) -> None:
    act.scene.system.app.control.revoke(act.id)
    act.scene.barrier_of_control()


def by_stamp(act: Act) -> None:
    act.scene.revoke_stamped(STAMP, act.name)
    act.scene.barrier_of_control()


def with_terminate(act: Act) -> None:
    act.scene.system.app.control.revoke(act.id, terminate=True)
    act.scene.barrier_of_control()


def by_stamp_with_terminate(act: Act) -> None:
    act.scene.revoke_stamped(STAMP, act.name, terminate=True)
    act.scene.barrier_of_control()


Revoke = Callable[[Act], None]
#: Each with a database and a way to ack.
EVERY_WAY = pytest.mark.parametrize(
    ("scene", "task", "revoke"),
    [
        ("sqlite", "act", by_id),
        ("postgresql", "act_late", by_stamp),
        ("postgresql", "act", with_terminate),
        ("sqlite", "act_late", by_stamp_with_terminate),
    ],
    indirect=["scene"],
)
WITHOUT_TERMINATE = pytest.mark.parametrize(
    ("scene", "task", "revoke"),
    [("sqlite", "act_late", by_stamp), ("postgresql", "act", by_id)],
    indirect=["scene"],
)


@contextmanager
def a_busy_child(scene: Scene) -> Iterator[None]:
    """What is sent meanwhile waits in the worker."""
    name = scene.occupy()
    try:
        yield
    finally:
        scene.system.write(f"go-{name}")


@contextmanager
def an_unread_queue(scene: Scene) -> Iterator[str]:
    """What is sent there meanwhile waits in the broker."""
    name = uuid4().hex
    yield name
    scene.read_queue(name)


@EVERY_WAY
def test_in_the_queue(scene: Scene, task: str, revoke: Revoke) -> None:
    with an_unread_queue(scene) as queue:
        act = scene.start(task=task, stamp=STAMP, queue=queue)
        revoke(act)
        assert act.job.state == "PENDING"
    assert act.ended() == cancelled()
    assert act.count("triggers") == 0


@EVERY_WAY
def test_reserved(scene: Scene, task: str, revoke: Revoke) -> None:
    with a_busy_child(scene):
        act = scene.start(task=task, stamp=STAMP)
        scene.wait_reserved(act)
        revoke(act)
    scene.barrier()
    act.let_time_pass()  # for a delivery that is terminated as soon as it begins
    assert act.ended() == cancelled()
    assert act.count("triggers") == 0


@WITHOUT_TERMINATE
def test_started(scene: Scene, task: str, revoke: Revoke) -> None:
    act = scene.start(task=task, stamp=STAMP, plan={"trigger": "hold"})
    act.wait_held("trigger")
    revoke(act)
    act.go_on("trigger")
    act.wait_parked()
    seen: Any = scene.system.app.AsyncResult(act.id)
    assert seen.state == "PARKED"
    act.succeed()
    assert act.ended() == succeeded()
    assert act.count("triggers") == 1


@EVERY_WAY
def test_parked(scene: Scene, task: str, revoke: Revoke) -> None:
    act = scene.start(task=task, stamp=STAMP)
    act.wait_parked()
    scene.barrier()  # a process that is not done yet would be terminated
    revoke(act)
    assert act.job.state == "PARKED"
    act.succeed()
    assert act.ended() == succeeded()


@EVERY_WAY
def test_owed_with_the_resume_in_the_queue(scene: Scene, task: str, revoke: Revoke) -> None:
    with an_unread_queue(scene) as queue:
        act = scene.start(task=task, stamp=STAMP, queue=queue)
        act.succeed()
        revoke(act)
    assert act.ended() == succeeded()


@EVERY_WAY
def test_owed_with_the_resume_reserved(scene: Scene, task: str, revoke: Revoke) -> None:
    act = scene.start(task=task, stamp=STAMP)
    act.wait_parked()
    with a_busy_child(scene):
        act.succeed()
        scene.wait_reserved(act)
        revoke(act)
    scene.barrier()
    act.let_time_pass()
    assert act.ended() == succeeded()


@EARLY_ON_SQLITE
def test_a_retry_of_a_revoked_job_does_not_start(scene: Scene, task: str) -> None:
    act = scene.start(task=task)
    act.wait_parked()
    by_id(act)
    scene.system.external.signal_failed(act.id, ConnectionError("try again"))
    assert act.ended() == cancelled()
    assert act.count("triggers") == 1
