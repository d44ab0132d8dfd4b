"""Deliveries of one job at once, or at a time when nobody expects them: one counts."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from uuid import uuid4

import pytest

from celery_external import states
from tests.ends.scene import succeeded
from tests.races.crowd import Crowd


@pytest.mark.parametrize(
    ("state", "task"),
    [
        ("PENDING", "act"),
        ("STARTED", "act_late"),
        ("PARKED", "act"),
        ("owed", "act_late"),
        ("settled", "act_late"),
    ],
)
def test_the_triggers_message_comes_again(crowd: Crowd, state: str, task: str) -> None:
    queue = uuid4().hex
    plan = {"trigger": "hold", "on_timeout": "hold"}
    act = crowd.start(task=task, queue=queue, plan=plan)
    publish = crowd.copy_message(act, queue)
    publish(3 if state == "PENDING" else 1)
    act.wait_held("trigger")
    if state == "PENDING":
        crowd.wait_active(1)
    if state == "STARTED":
        publish(2)
        crowd.wait_active(1)
    act.go_on("trigger")
    act.wait_parked()
    crowd.barrier()
    if state == "PARKED":
        publish(2)
        crowd.barrier()
        assert act.job.state == states.PARKED
    crowd.read_queue(queue)
    act.time_out()
    act.wait_held("on_timeout")
    if state == "owed":
        publish(2)
        crowd.wait_active(1)
    act.go_on("on_timeout")
    crowd.system.wait_settled(act.id)
    if state == "settled":
        publish(2)
    end = act.ended()
    assert (end.kind, end.steps, end.errbacks) == ("timed_out", 1, 0)
    assert act.count("triggers") == 1
    assert act.count("places") == 2
    assert act.job.attempt == 1


@pytest.mark.parametrize("resumes", [2, 3])
def test_resumes_of_a_success_come_at_once(crowd: Crowd, resumes: int) -> None:
    queue = uuid4().hex
    act = crowd.start(queue=queue)
    crowd.copy_message(act, queue)()
    act.wait_parked()
    crowd.barrier()
    act.succeed()
    publish = crowd.copy_message(act, queue)
    with crowd.lock(act) as lock:
        publish(resumes)
        crowd.wait_active(resumes)
        lock.wait_for_waiting(resumes)
    assert act.ended() == succeeded()
    assert act.count("triggers") == 1


@pytest.mark.parametrize("resumes", [2, 3])
def test_resumes_of_a_failure_with_autoretry_come_at_once(crowd: Crowd, resumes: int) -> None:
    queue = uuid4().hex
    act = crowd.start(queue=queue)
    crowd.copy_message(act, queue)()
    act.wait_parked()
    crowd.barrier()
    crowd.system.external.signal_failed(act.id, ConnectionError("try again"))
    publish = crowd.copy_message(act, queue)
    crowd.read_queue(queue)  # there the retry goes
    with crowd.lock(act) as lock:
        publish(resumes)
        crowd.wait_active(resumes)
        lock.wait_for_waiting(resumes)
    crowd.system.wait_attempt(act.id, 2)
    crowd.barrier()
    assert act.count("triggers") == 2
    # And one that comes when the next attempt has begun finds nothing to do.
    publish(2)
    crowd.barrier()
    assert (act.job.state, act.job.attempt) == (states.PARKED, 2)
    act.succeed()
    assert act.ended() == succeeded()
    assert act.count("triggers") == 2


def test_two_sweeps_at_once_send_each_resume_once(crowd: Crowd, pool: ThreadPoolExecutor) -> None:
    queue = uuid4().hex
    acts = [crowd.start(queue=queue, expires=3600) for _ in range(30)]
    before = crowd.system.queue_length(queue)
    crowd.system.execute(
        "UPDATE celery_external_job SET wake_at = :then, expires_at = :then WHERE queue = :queue",
        then="2020-01-01 00:00:00.000000",
        queue=queue,
    )
    sweeps = [pool.submit(crowd.system.external.sweep) for _ in range(4)]
    assert sum(sweep.result(timeout=30) for sweep in sweeps) == len(acts)
    assert crowd.system.queue_length(queue) == before + len(acts)
    assert {act.job.kind for act in acts} == {"cancelled"}
    assert {tuple(entry.event for entry in act.job.history) for act in acts} == {("cancelled",)}
    crowd.read_queue(queue)
    assert acts[0].ended().errbacks == 1
    crowd.barrier()
    assert [act.count("errbacks") for act in acts] == [1] * len(acts)
