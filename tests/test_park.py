"""The trigger runs on a worker, then the job is a row: with a real worker, on both databases."""

from __future__ import annotations

import subprocess
import sys
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import chain

from celery_external import (
    ExternalJobFailed,
    Succeeded,
    states,
)
from tests.processes import REPOSITORY
from tests.systems import System
from tests.waiting import wait_for


def test_a_job_is_a_row_from_apply_async_on(idle_system: System) -> None:
    result = idle_system.task("ask").apply_async(("draft",), {"n": 1}, labels=("call",))
    job = idle_system.get(result)
    assert (job.state, job.attempt, job.labels) == (states.PENDING, 1, ("plain", "call"))
    assert (job.args, job.kwargs, job.queue) == (["draft"], {"n": 1}, "celery")
    assert (job.argsrepr, job.kwargsrepr) == ("('draft',)", "{'n': 1}")
    assert idle_system.queue_length() == 1


def test_a_chain_waits_for_the_signal_and_goes_on(system: System) -> None:
    result: Any = chain(system.task("ask").s("draft"), system.task("add").s(40)).apply_async()
    job = system.wait_parked(result.parent.id)
    assert result.parent.state == "PARKED"
    assert result.parent.info == {"labels": ["plain"], "meta": {"asked": [["draft"], {}]}}
    receipt = system.external.signal_succeeded(job, 2, by="alice")
    assert (receipt.status, receipt.early, receipt.sent) == ("applied", False, True)
    assert result.get(timeout=20) == 42
    settled = system.wait_settled(job.id)
    assert (settled.state, settled.result, settled.completed_by) == (states.SUCCESS, 2, "alice")
    assert system.count("triggers", job.id) == 1


@pytest.mark.timeout(300)
def test_a_thousand_parked_jobs_hold_no_worker_and_no_message(system: System) -> None:
    ask = system.task("ask")
    with system.app.producer_pool.acquire(block=True) as producer:
        for number in range(1000):
            ask.apply_async((number,), producer=producer, labels=["thousand"])
    parked = system.wait_for_parked(1000, labels=["thousand"], timeout=110)
    assert system.task("echo").delay("at once").get(timeout=10) == "at once"
    # Beat's sweeps may stand there for a moment.
    wait_for(lambda: not system.queue_length(), what="the queue to be empty")
    receipts = system.external.signal_many([(job, Succeeded()) for job in parked])
    assert {receipt.status for receipt in receipts} == {"applied"}
    wait_for(
        lambda: not system.external.find_jobs(labels=["thousand"], settled=False),
        timeout=110,
        what="the worker to be done with them",
    )
    # The sweep has sent again what was owed for long: the worker is other tests' too.
    wait_for(lambda: not system.queue_length(), timeout=60, what="the queue to be empty")
    assert system.task("echo").delay("at last").get(timeout=20) == "at last"


@pytest.mark.parametrize("name", ["ask_flask_first", "ask_flask_last"])
def test_flasks_documented_task_class_parks_in_both_orders(system: System, name: str) -> None:
    result: Any = chain(system.task(name).s(1), system.task("add").s(1)).apply_async()
    job = system.wait_parked(result.parent.id)
    system.external.signal_succeeded(job, 1)
    assert result.get(timeout=20) == 2


def test_a_class_based_task_parks_and_its_hook_is_called(system: System) -> None:
    result = system.task("ask_by_class").delay("?")
    job = system.wait_parked(result)
    assert job.labels == ("class", "based")
    assert job.deadline is not None
    wait_for(lambda: system.count("parked", f"{job.id} PARKED") == 1, what="on_parked")
    system.external.signal_succeeded(job, "!")
    assert result.get(timeout=20) == "!"


def test_a_bound_trigger_says_everything_about_its_job(system: System) -> None:
    word = uuid4().hex
    result = system.task("ask_bound").delay(word)
    job = system.wait_parked(result)
    assert job.reference == f"ref-{word}"
    assert job.meta == {"question": word}
    assert job.trigger_result == {"sent": word}
    assert job.progress is not None
    assert (job.progress.current, job.progress.total, job.progress.message) == (1, 10, "asked")
    assert [found.id for found in system.external.find_jobs(reference=f"ref-{word}")] == [job.id]


def test_a_custom_task_id_is_the_jobs_id_and_starts_one_job(system: System) -> None:
    task_id = str(uuid4())
    ask = system.task("ask")
    ask.apply_async(("one",), task_id=task_id)
    system.wait_parked(task_id)
    ask.apply_async(("two",), task_id=task_id)
    assert system.task("echo").delay("after").get(timeout=20) == "after"
    job = system.get(UUID(task_id))
    assert (job.args, job.attempt, job.state) == (["one"], 1, states.PARKED)
    assert system.count("triggers", task_id) == 1


def test_a_task_sent_by_name_gets_its_row_at_the_trigger(system: System) -> None:
    name = system.task("ask").name
    sent = system.app.send_task(
        name, ("by name",), headers={"external_options": {"labels": ["named"], "timeout": 3600}}
    )
    job = system.wait_parked(sent)
    assert job.labels == ("plain", "named")
    assert job.deadline is not None
    system.external.signal_succeeded(job, "named")
    assert sent.get(timeout=20) == "named"


def test_a_job_published_inside_a_worker_is_a_row_at_once(system: System) -> None:
    started = system.task("start_inside").delay(system.task("ask").name, "inside")
    job = system.wait_parked(started.get(timeout=20))
    assert job.parent_id == started.id


def test_a_signal_needs_no_task_code(system: System) -> None:
    job = system.wait_parked(system.task("ask").delay())
    script = f"""
from celery import Celery
from celery_external import signal_succeeded
app = Celery(broker={system.env["BROKER_URL"]!r}, backend={system.env["RESULT_URL"]!r})
app.conf.external_database_url = {system.env["DATABASE_URL"]!r}
receipt = signal_succeeded({job.id!r}, "from afar")
assert receipt.sent, receipt
assert not [name for name in app.tasks if name.startswith("tests.")]
"""
    subprocess.run([sys.executable, "-c", script], check=True, cwd=REPOSITORY)
    assert system.app.AsyncResult(job.id).get(timeout=20) == "from afar"


def test_routing_priority_headers_and_stamps_are_kept(idle_system: System) -> None:
    with idle_system.worker(queues=("celery", "side")):
        sig = idle_system.task("ask").s(1).set(queue="side", priority=3, headers={"tenant": "t1"})
        sig.stamp(campaign="c1")
        result = sig.apply_async()
        job = idle_system.wait_parked(result)
        assert job.queue == "side"
    message = idle_system.resume_message_of(job)
    assert message.headers["tenant"] == "t1"
    assert message.headers["stamps"] == {"campaign": "c1"}
    assert message.headers["external_attempt"] == 1
    assert message.headers.get("eta") is None
    assert message.properties["priority"] == 3
    assert message.delivery_info["routing_key"] == "side"


def test_a_trigger_that_knows_the_outcome_does_not_park(system: System) -> None:
    know = system.task("know")
    done: Any = chain(know.s("succeeded", 20), system.task("add").s(22)).apply_async()
    assert done.get(timeout=20) == 42
    assert system.wait_settled(done.parent).parked_at is None
    failed = know.delay("failed", "no credit")
    with pytest.raises(ExternalJobFailed, match=r"^no credit$"):
        failed.get(timeout=20)
    job = system.wait_settled(failed)
    assert (job.state, job.reason) == (states.FAILURE, "no credit")


def test_a_trigger_that_raises_fails_the_job(system: System) -> None:
    result = system.task("ask_badly").apply_async(link_error=system.task("on_error").s())
    with pytest.raises(ValueError, match=r"^no such provider$"):
        result.get(timeout=20)
    job = system.wait_settled(result)
    assert (job.state, job.kind, job.reason) == (
        states.FAILURE, "failed", "ValueError: no such provider",
    )  # fmt: skip
    wait_for(lambda: system.count("errbacks", job.id) == 1, what="the errback")


@pytest.mark.parametrize(
    ("name", "state"), [("ask_and_ignore", states.REVOKED), ("ask_and_reject", states.FAILURE)]
)
def test_a_trigger_may_leave_by_celerys_own_doors(system: System, name: str, state: str) -> None:
    result = system.task(name).delay()
    assert system.wait_settled(result).state == state
