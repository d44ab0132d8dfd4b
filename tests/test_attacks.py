"""What an attacker of the mechanism found; each was a job lost, doubled or wrongly ended."""

from __future__ import annotations

import copy
import os
import pickle
import signal
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from celery import chain
from kombu import Exchange, Queue

from celery_external import (
    JobNotFoundError,
    OptionError,
    TriggerLostError,
    get_external,
    states,
)
from tests.servers import Postgres
from tests.systems import System
from tests.waiting import wait_for

NOWHERE = "redis://127.0.0.1:1/0"


def test_a_next_step_that_does_not_take_the_result_fails_the_job(system: System) -> None:
    step = system.task("ask").s().on_error(system.task("on_error").s())
    result: Any = chain(step, system.task("take_nothing").s()).apply_async()
    job = system.wait_parked(result.parent)
    system.external.signal_succeeded(job, 1)
    settled = system.wait_settled(job)
    assert settled.state == states.FAILURE
    assert settled.reason is not None
    assert settled.reason.startswith("TypeError: ")
    assert system.app.AsyncResult(job.id).state == "FAILURE"
    wait_for(lambda: system.count("errbacks", f"{job.id} TypeError") == 1, what="the errback")


def test_a_retry_that_is_not_raised_is_carried_on_by_the_next_attempt(system: System) -> None:
    result = system.task("retry_and_return").delay()
    job = system.wait_attempt(result, 2)
    assert job.trigger_result == "returned"
    system.external.signal_failed(job, "no")
    system.wait_settled(job)
    assert system.app.AsyncResult(job.id).state == "FAILURE"


def test_a_terminated_trigger_is_lost_and_nothing_else(idle_system: System) -> None:
    result = idle_system.task("ask_slowly").apply_async(
        ("terminated",), link_error=idle_system.task("on_error").s()
    )
    with idle_system.worker():
        wait_for(lambda: "terminated" in idle_system.lines("started"), what="the trigger to run")
        idle_system.app.control.revoke(result.id, terminate=True, signal="SIGKILL")
        job = idle_system.wait_settled(result)
        assert (job.state, job.kind) == (states.FAILURE, "lost")
        with pytest.raises(TriggerLostError):
            result.get(timeout=20)
        wait_for(lambda: idle_system.lines("errbacks"), what="the errback")
    assert [entry.event for entry in idle_system.get(job).history] == ["lost"]
    assert len(idle_system.lines("errbacks")) == 1


def test_a_cold_shutdown_with_acks_late_has_the_trigger_delivered_again(
    make_system: Callable[..., System],
) -> None:
    system = make_system(task_acks_late=True, broker_transport_options={"visibility_timeout": 2})
    result = system.task("ask_slowly").delay("cold")
    with system.worker() as worker:
        wait_for(lambda: "cold" in system.lines("started"), what="the trigger to run")
        os.kill(worker.pid, signal.SIGQUIT)
        worker.wait()
    assert system.get(result).state == states.STARTED
    system.write("go-cold")
    with system.worker():
        system.wait_parked(result)
    assert system.lines("started") == ["cold", "cold"]


def test_a_copy_of_the_message_does_not_start_a_running_trigger_again(
    idle_system: System,
) -> None:
    result = idle_system.task("ask_slowly").delay("copied")
    idle_system.execute("UPDATE celery_external_job SET wake_at = '2020-01-01 00:00:00.000000'")
    assert get_external(idle_system.app).sweep() == 1
    with idle_system.worker(concurrency=2):
        wait_for(lambda: "copied" in idle_system.lines("started"), what="the trigger to run")
        wait_for(lambda: idle_system.queue_length() == 0, what="the copy to be taken")
        assert idle_system.task("echo").delay("behind it").get(timeout=20) == "behind it"
        idle_system.write("go-copied")
        idle_system.wait_parked(result)
    assert idle_system.lines("started") == ["copied"]


def test_only_what_the_broker_took_counts_as_sent(idle_system: System) -> None:
    result = idle_system.task("ask").delay()
    app: Any = idle_system.app
    app.conf.broker_url = NOWHERE
    app.conf.broker_connection_timeout = 0.2
    app.pool.force_close_all()
    app._pool = None  # noqa: SLF001 - the pool of the old address
    amqp: Any = app.amqp
    amqp._producer_pool = None  # noqa: SLF001
    for _ in range(5):
        idle_system.execute("UPDATE celery_external_job SET wake_at = '2020-01-01 00:00:00.000000'")
        assert idle_system.external.sweep() == 1
    job = idle_system.get(result)
    assert (job.state, job.sends, job.stuck) == (states.PENDING, 0, False)


def test_a_topic_exchange_gets_the_resume(make_system: Callable[..., System]) -> None:
    system = make_system()
    media = Queue("renders", Exchange("media", type="topic"), routing_key="render.#")
    system.app.amqp.queues.add(media)
    result = system.task("ask").apply_async(queue="renders", routing_key="render.big")
    with system.worker(queues=("celery", "renders")) as worker:
        # The worker knows the queue by its name only; the exchange is bound by the publisher.
        assert worker.pid
        job = system.wait_parked(result)
        system.external.signal_succeeded(job, "drawn")
        assert result.get(timeout=20) == "drawn"


@pytest.mark.parametrize("how", ["revoked", "expired"])
def test_celerys_word_ends_a_task_sent_by_name_that_is_no_job_yet(
    idle_system: System, how: str
) -> None:
    app, task_id = idle_system.app, str(uuid4())
    options: Any = {"expires": -1} if how == "expired" else {}
    with idle_system.worker():
        if how == "revoked":
            # With its reply, the worker knows it before it gets the task. What is said before it
            # listens is lost.
            wait_for(
                lambda: app.control.revoke(task_id, reply=True, timeout=1, limit=1),
                what="the worker to know that the task is revoked",
            )
        sent: Any = app.send_task(idle_system.task("ask").name, task_id=task_id, **options)
        wait_for(lambda: sent.state == "REVOKED", what="Celery to revoke it")
    with pytest.raises(JobNotFoundError):
        idle_system.get(sent)


def test_results_of_external_tasks_can_be_copied_and_pickled(system: System) -> None:
    result = system.task("ask").delay()
    assert copy.copy(result).id == result.id
    assert pickle.loads(pickle.dumps(result)).id == result.id  # noqa: S301 - our own
    system.external.cancel_job(result)


def test_ids_are_checked_before_anything_is_written(idle_system: System) -> None:
    ask = idle_system.task("ask")
    for task_id in ("x" * 256, "nul\x00", "\ud800", b"bytes", ""):
        with pytest.raises(OptionError, match=r"^task_id: "):
            ask.apply_async(task_id=task_id)
    assert idle_system.queue_length() == 0
    wanted = uuid4()
    assert ask.apply_async(task_id=wanted).id == str(wanted)
    assert idle_system.get(UUID(str(wanted))).state == states.PENDING


def test_settings_count_that_were_made_after_a_task_was_bound(
    make_system: Callable[..., System], tmp_path: Path
) -> None:
    system = make_system()
    ask = system.task("ask")
    assert ask.app is system.app
    system.app.conf.external_database_url = f"sqlite:///{tmp_path / 'later.db'}"
    ask.delay()
    assert (tmp_path / "later.db").exists()


def test_an_idle_worker_outlives_a_restart_of_the_database(
    broker_url: str, result_url: str, tmp_path: Path
) -> None:
    with closing(Postgres()) as server:
        server.start()
        url = server.create_database()
        system = System(
            broker_url=broker_url, result_url=result_url, database_url=url, scratch=tmp_path
        )
        with closing(system):
            system.external.upgrade()
            with system.worker():
                first = system.wait_parked(system.task("ask").delay())
                server.restart()
                second = system.wait_parked(system.task("ask").delay())
                for job in (first, second):
                    system.external.signal_succeeded(job, "still here")
                    assert system.wait_settled(job).result == "still here"
