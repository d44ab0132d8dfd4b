"""The mechanism with a real worker: trigger, park, signal, and the canvas goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from uuid import UUID, uuid4

import pytest
from celery import chain, signature

from celery_external import (
    ExternalJobCancelled,
    ExternalJobFailed,
    JobAlreadyCompletedError,
    RerunRefusedError,
    StaleAttemptError,
    Succeeded,
    TriggerLostError,
    states,
)
from tests.processes import REPOSITORY
from tests.systems import System
from tests.waiting import wait_for


# --- Park ------------------------------------------------------------------------------------------


def test_a_job_is_a_row_from_apply_async_on(idle_system: System) -> None:
    result = idle_system.task("ask").apply_async(("draft",), {"n": 1}, labels=("call",))
    job = idle_system.get(result)
    assert (job.state, job.attempt, job.labels) == (states.PENDING, 1, ("plain", "call"))
    assert (job.args, job.kwargs, job.queue) == (["draft"], {"n": 1}, "celery")
    assert (job.argsrepr, job.kwargsrepr) == ("('draft',)", "{'n': 1}")
    assert idle_system.queue_length() == 1


def test_a_chain_waits_for_the_signal_and_goes_on(system: System) -> None:
    result = chain(system.task("ask").s("draft"), system.task("add").s(40)).apply_async()
    job = system.wait_parked(result.parent.id)
    assert result.parent.state == "PARKED"
    assert result.parent.info == {"labels": ["plain"], "meta": {"asked": [["draft"], {}]}}
    receipt = system.external.signal_succeeded(job, 2, by="alice")
    assert (receipt.status, receipt.early, receipt.sent) == ("applied", False, True)
    assert result.get(timeout=20) == 42
    settled = system.wait_settled(job.id)
    assert (settled.state, settled.result, settled.completed_by) == (states.SUCCESS, 2, "alice")
    assert system.count("triggers", job.id) == 1


def test_a_thousand_parked_jobs_hold_no_worker_and_no_message(system: System) -> None:
    ask = system.task("ask")
    with system.app.producer_pool.acquire(block=True) as producer:
        for number in range(1000):
            ask.apply_async((number,), producer=producer, labels=["thousand"])
    parked = system.wait_for_parked(1000, labels=["thousand"], timeout=110)
    assert system.task("echo").delay("at once").get(timeout=10) == "at once"
    assert system.queue_length() == 0
    receipts = system.external.signal_many([(job, Succeeded()) for job in parked])
    assert {receipt.status for receipt in receipts} == {"applied"}


@pytest.mark.parametrize("name", ["ask_flask_first", "ask_flask_last"])
def test_flasks_documented_task_class_parks_in_both_orders(system: System, name: str) -> None:
    result = chain(system.task(name).s(1), system.task("add").s(1)).apply_async()
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


# --- Inside the trigger ------------------------------------------------------------------------------


def test_a_trigger_that_knows_the_outcome_does_not_park(system: System) -> None:
    know = system.task("know")
    done = chain(know.s("succeeded", 20), system.task("add").s(22)).apply_async()
    assert done.get(timeout=20) == 42
    assert system.wait_settled(done.parent).parked_at is None
    failed = know.delay("failed", "no credit")
    with pytest.raises(ExternalJobFailed, match="^no credit$"):
        failed.get(timeout=20)
    job = system.wait_settled(failed)
    assert (job.state, job.reason) == (states.FAILURE, "no credit")


def test_a_trigger_that_raises_fails_the_job(system: System) -> None:
    result = system.task("ask_badly").apply_async(link_error=system.task("on_error").s())
    with pytest.raises(ValueError, match="^no such provider$"):
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


# --- Signals -----------------------------------------------------------------------------------------


def test_a_failure_is_raised_with_its_reason(system: System) -> None:
    result = system.task("ask").apply_async(link_error=system.task("on_error").s())
    system.external.signal_failed(system.wait_parked(result), "declined", by="bob")
    with pytest.raises(ExternalJobFailed, match="^declined$"):
        result.get(timeout=20)
    wait_for(lambda: system.count("errbacks", result.id) == 1, what="the errback")
    job = system.wait_settled(result)
    assert (job.state, job.reason, job.completed_by) == (states.FAILURE, "declined", "bob")


def test_a_failure_may_be_the_exception_to_raise(system: System) -> None:
    result = system.task("ask").delay()
    system.external.signal_failed(system.wait_parked(result), KeyError("size"))
    with pytest.raises(KeyError, match="size"):
        result.get(timeout=20)


def test_an_exception_that_cannot_be_carried_is_raised_by_its_words(system: System) -> None:
    class Local(Exception):  # noqa: N818 - nothing outside this function can import it
        pass

    result = system.task("ask").delay()
    system.external.signal_failed(system.wait_parked(result), Local("secret handshake"))
    with pytest.raises(ExternalJobFailed, match="^Local: secret handshake$"):
        result.get(timeout=20)


def test_a_signal_before_the_trigger_means_it_never_runs(idle_system: System) -> None:
    result = chain(idle_system.task("ask").s(), idle_system.task("add").s(1)).apply_async()
    receipt = idle_system.external.signal_succeeded(result.parent, 1)
    assert (receipt.early, receipt.sent) == (True, True)
    with idle_system.worker():
        assert result.get(timeout=20) == 2
        idle_system.wait_settled(result.parent)
        wait_for(lambda: idle_system.queue_length() == 0, what="the trigger's message to be taken")
    assert idle_system.lines("triggers") == []


@pytest.mark.parametrize("name", ["ask_slowly", "ask_slowly_and_fail"])
def test_a_signal_while_the_trigger_runs_is_handed_on_when_it_ends(
    system: System, name: str
) -> None:
    word = uuid4().hex
    result = chain(system.task(name).s(word), system.task("add").s(1)).apply_async()
    wait_for(lambda: word in system.lines("started"), what="the trigger to run")
    receipt = system.external.signal_succeeded(result.parent, 1)
    assert (receipt.early, receipt.sent) == (True, False)
    system.write(f"go-{word}")
    assert result.get(timeout=20) == 2
    assert system.wait_settled(result.parent).parked_at is None


def test_a_repeated_signal_is_a_duplicate_and_another_outcome_is_refused(system: System) -> None:
    job = system.wait_parked(system.task("ask").delay())
    external = system.external
    external.signal_succeeded(job, {"ok": [1, 2]}, by="alice")
    assert external.signal_succeeded(job, {"ok": [1, 2]}, by="bob").status == "duplicate"
    with pytest.raises(JobAlreadyCompletedError) as refused:
        external.signal_failed(job, "too late", by="carol")
    assert refused.value.job.completed_by == "alice"
    history = system.get(job).history
    assert [(entry.event, entry.by) for entry in history] == [
        ("succeeded", "alice"),
        ("refused", "carol"),
    ]


# --- Cancel and rerun --------------------------------------------------------------------------------


def test_a_cancelled_job_is_revoked_and_never_retried(system: System) -> None:
    result = system.task("ask_again_for_anything").apply_async(
        link_error=system.task("on_error").s()
    )
    system.external.cancel_job(system.wait_parked(result), by="alice", reason="changed my mind")
    with pytest.raises(ExternalJobCancelled, match="changed my mind"):
        result.get(timeout=20)
    job = system.wait_settled(result)
    assert (job.state, job.attempt, result.state) == (states.REVOKED, 1, "FAILURE")
    wait_for(lambda: system.count("errbacks", job.id) == 1, what="the errback")


@pytest.mark.parametrize("before", [states.PARKED, states.FAILURE, states.REVOKED])
def test_a_rerun_is_the_next_attempt_and_the_chain_goes_on(system: System, before: str) -> None:
    result = chain(system.task("ask").s(), system.task("add").s(1)).apply_async()
    job = system.wait_parked(result.parent)
    if before == states.FAILURE:
        system.external.signal_failed(job, "broken")
        system.wait_settled(job)
    elif before == states.REVOKED:
        system.external.cancel_job(job)
        system.wait_settled(job)
    rerun = system.external.rerun_job(job, by="op", reason="the provider is back")
    assert (rerun.attempt, rerun.state) == (2, states.PENDING)
    system.wait_parked(job)
    with pytest.raises(StaleAttemptError):
        system.external.signal_succeeded(job, 1, attempt=1)
    system.external.signal_succeeded(job, 1, attempt=2)
    wait_for(lambda: system.app.AsyncResult(result.id).state == "SUCCESS", what="the chain's end")
    assert system.app.AsyncResult(result.id).result == 2
    assert system.count("triggers", job.id) == 2
    assert "rerun" in [entry.event for entry in system.get(job).history]


def test_a_job_that_succeeded_is_not_run_again(system: System) -> None:
    job = system.wait_parked(system.task("ask").delay())
    system.external.signal_succeeded(job)
    system.wait_settled(job)
    with pytest.raises(RerunRefusedError, match="it is SUCCESS, not PARKED, FAILURE or REVOKED"):
        system.external.rerun_job(job)


# --- Retries -----------------------------------------------------------------------------------------


def test_a_failure_is_retried_by_celerys_own_settings(system: System) -> None:
    result = chain(system.task("ask_again").s(), system.task("add").s(1)).apply_async()
    job = system.wait_parked(result.parent)
    for attempt in (1, 2):
        system.external.signal_failed(job, "flaky", attempt=attempt)
        system.wait_attempt(job, attempt + 1)
    system.external.signal_succeeded(job, 1, attempt=3)
    assert result.get(timeout=20) == 2
    events = [(entry.event, entry.attempt) for entry in system.get(job).history]
    assert events == [
        ("failed", 1), ("retried", 2), ("failed", 2), ("retried", 3), ("succeeded", 3),
    ]  # fmt: skip


def test_retries_run_out(system: System) -> None:
    result = system.task("ask_again").delay()
    for attempt in (1, 2, 3):
        system.wait_attempt(result, attempt)
        system.external.signal_failed(result, f"flaky {attempt}", attempt=attempt)
    with pytest.raises(ExternalJobFailed, match="^flaky 3$"):
        result.get(timeout=20)
    assert system.wait_settled(result).state == states.FAILURE


def test_a_trigger_may_retry_itself(system: System) -> None:
    result = system.task("retry_itself").delay()
    job = system.wait_parked(result)
    assert job.attempt == 2
    system.external.signal_succeeded(job, "second")
    assert result.get(timeout=20) == "second"
    assert system.lines("triggers").count(f"{job.id} 1") == 1
    assert system.lines("triggers").count(f"{job.id} 2") == 1


# --- Replace -----------------------------------------------------------------------------------------


def test_a_trigger_may_become_an_ordinary_task(system: System) -> None:
    result = chain(
        system.task("become").s(system.task("add").s(20, 20)), system.task("add").s(2)
    ).apply_async()
    assert result.get(timeout=20) == 42
    job = system.wait_settled(result.parent)
    assert (job.state, job.kind) == (states.SUCCESS, "continued")


def test_a_trigger_may_become_another_external_task(system: System) -> None:
    result = chain(
        system.task("become").s(system.task("ask").s("instead")), system.task("add").s(2)
    ).apply_async()
    job = system.wait_parked(result.parent)
    assert (job.attempt, job.task, job.args) == (2, system.task("ask").name, ["instead"])
    system.external.signal_succeeded(job, 40)
    assert result.get(timeout=20) == 42


def test_a_trigger_may_become_a_chain_that_ends_in_an_external_task(system: System) -> None:
    steps = chain(system.task("add").s(1, 1), system.task("ask").s())
    result = chain(
        system.task("become").s(signature(steps)), system.task("add").s(2)
    ).apply_async()
    job = system.wait_parked(result.parent)
    assert (job.attempt, job.args) == (2, [2])
    system.external.signal_succeeded(job, 40)
    assert result.get(timeout=20) == 42


# --- Timeouts ----------------------------------------------------------------------------------------


def test_nobody_answers_and_the_chain_fails(system: System) -> None:
    from celery_external import ExternalJobTimedOut  # noqa: PLC0415 - beside its only use

    result = chain(
        system.task("ask").s().set(timeout=0.2), system.task("echo").s()
    ).apply_async()
    with pytest.raises(ExternalJobTimedOut, match="^The deadline has passed$"):
        result.get(timeout=20)
    job = system.wait_settled(result.parent)
    assert (job.state, job.kind, job.completed_by) == (states.FAILURE, "timed_out", None)


def test_a_timeout_may_have_a_result(system: System) -> None:
    result = system.task("ask_with_default").delay()
    assert result.get(timeout=20) == {"answer": "none"}
    job = system.wait_settled(result)
    assert (job.state, job.kind, job.result) == (states.SUCCESS, "timed_out", {"answer": "none"})


def test_on_timeout_answers_once(system: System) -> None:
    result = system.task("ask_with_hook").delay("an answer")
    assert result.get(timeout=20) == "an answer"
    system.wait_settled(result)
    assert system.lines("on_timeout").count(f"{result.id} FAILURE timed_out") == 1


def test_on_timeout_may_raise(system: System) -> None:
    result = system.task("ask_with_hook").delay("raise")
    with pytest.raises(LookupError, match="nobody is there"):
        result.get(timeout=20)
    assert system.wait_settled(result).state == states.FAILURE


def test_on_timeout_may_go_on_with_another_step(system: System) -> None:
    result = system.task("ask_with_hook").delay("step")
    assert result.get(timeout=20) == "went on"
    assert system.wait_settled(result).state == states.SUCCESS


def test_a_timeout_is_retried_where_the_task_says_so(system: System) -> None:
    result = system.task("ask_again").apply_async(timeout=0.2)
    job = system.wait_attempt(result, 2)
    assert job.history[0].event == "timed_out"


def test_a_parked_job_without_signs_of_life_times_out(system: System) -> None:
    result = system.task("ask_with_heartbeat").delay()
    job = system.wait_settled(result)
    assert (job.kind, job.reason) == ("timed_out", "No sign of life within the heartbeat timeout")


def test_an_extended_job_outlives_its_timeout(system: System) -> None:
    result = system.task("ask").apply_async(timeout=3)
    job = system.wait_parked(result)
    longer = system.external.extend_job(job, timeout=3600, by="op", reason="holiday")
    assert job.deadline is not None
    assert longer.deadline is not None
    assert longer.deadline > job.deadline
    assert system.get(job).history[0].event == "extended"


# --- Ends that only the worker's main process sees --------------------------------------------------


def test_a_killed_trigger_is_lost_and_not_run_again_unasked(idle_system: System) -> None:
    result = idle_system.task("ask_slowly").apply_async(
        ("killed",), link_error=idle_system.task("on_error").s()
    )
    with idle_system.worker() as worker:
        wait_for(lambda: "killed" in idle_system.lines("started"), what="the trigger to run")
        (child,) = worker.children()
        os.kill(child, signal.SIGKILL)
        with pytest.raises(TriggerLostError, match="The process that ran the trigger is gone"):
            result.get(timeout=20)
        job = idle_system.wait_settled(result)
    assert (job.state, job.kind, job.attempt) == (states.FAILURE, "lost", 1)
    assert idle_system.count("errbacks", job.id) == 1
    assert idle_system.lines("started") == ["killed"]


def test_a_trigger_over_its_hard_time_limit_is_lost(idle_system: System) -> None:
    result = idle_system.task("ask_slowly").apply_async(("limited",), time_limit=1)
    with idle_system.worker():
        with pytest.raises(TriggerLostError, match=r"Hard time limit \(1s\) exceeded"):
            result.get(timeout=20)
        assert idle_system.wait_settled(result).kind == "lost"


def test_a_revoked_job_is_cancelled_and_no_resume_is_thrown_away(system: System) -> None:
    parked = system.wait_parked(system.task("ask").delay())
    system.app.control.revoke(parked.id)
    system.external.signal_succeeded(parked, "kept")
    assert system.app.AsyncResult(parked.id).get(timeout=20) == "kept"
    assert system.wait_settled(parked).state == states.SUCCESS
    waiting = system.task("ask").apply_async(countdown=3600)
    system.app.control.revoke(waiting.id)
    system.external.cancel_job(waiting)
    assert system.wait_settled(waiting).state == states.REVOKED
