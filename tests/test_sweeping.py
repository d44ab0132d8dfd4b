"""Who sweeps: beat by itself, the user's own entry, a worker, cron; and who warns."""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable
from typing import Any

import pytest
from celery.beat import Scheduler

from celery_external import get_external, states
from celery_external.installation import installation_of
from celery_external.sweep import TASK_NAME, Sweeper, ensure_scheduled
from tests.processes import Worker
from tests.systems import TASKS, System
from tests.waiting import wait_for

LONG_AGO = "2020-01-01 00:00:00.000000"


def test_beat_sweeps_without_an_entry_of_the_users(make_system: Callable[..., System]) -> None:
    app = make_system(external_sweep_queue="sweeps").app
    scheduler = Scheduler(app, lazy=True)
    ensure_scheduled(app, scheduler)
    (entry,) = [entry for entry in scheduler.schedule.values() if entry.task == TASK_NAME]
    schedule: Any = entry.schedule
    assert schedule.run_every.total_seconds() == 10
    assert entry.options == {"expires": 24 * 3600, "queue": "sweeps"}


def test_of_sweeps_that_have_piled_up_one_is_enough(make_system: Callable[..., System]) -> None:
    system = make_system(external_sweep_interval=3600)
    for _ in range(3):
        system.app.send_task(TASK_NAME)
    with system.worker() as worker:
        wait_for(lambda: worker.log().count(" succeeded in ") == 3, what="the worker to take all")
        assert sorted(re.findall(r" succeeded in \S+: (\w+)", worker.log())) == [
            "0",
            "None",
            "None",
        ]


def test_the_users_own_entry_wins(idle_system: System) -> None:
    scheduler = Scheduler(idle_system.app, lazy=True)
    scheduler.update_from_dict({"mine": {"task": TASK_NAME, "schedule": 3600}})
    ensure_scheduled(idle_system.app, scheduler)
    assert list(scheduler.schedule) == ["mine"]


def test_a_worker_sweeps_where_there_is_no_beat(make_system: Callable[..., System]) -> None:
    system = make_system(external_sweep_in_worker=True, external_sweep_interval=0.2)
    result = system.task("ask_with_default").delay()
    with system.worker():
        assert result.get(timeout=20) == {"answer": "none"}
        system.wait_settled(result)


def test_a_worker_warns_when_nobody_sweeps(
    make_system: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    system = make_system(external_sweep_interval=0.05)
    system.task("ask").delay()
    system.execute("UPDATE celery_external_job SET wake_at = :then", then=LONG_AGO)
    sweeper = Sweeper(installation_of(system.app))
    with caplog.at_level(logging.WARNING, "celery_external"):
        sweeper.start()
        wait_for(lambda: "nobody sweeps" in caplog.text, what="the warning")
        sweeper.stop()
        sweeper.join(timeout=10)
    assert caplog.text.count("nobody sweeps") == 1
    assert not sweeper.is_alive()


def test_two_sweeps_at_once_time_each_job_out_once(idle_system: System) -> None:
    external = get_external(idle_system.app)
    jobs = [idle_system.task("ask").delay() for _ in range(60)]
    idle_system.execute(
        "UPDATE celery_external_job SET state = 'PARKED', started_at = created_at, "
        "parked_at = created_at, deadline = :then, wake_at = :then",
        then=LONG_AGO,
    )
    counts: list[int] = []
    threads = [threading.Thread(target=lambda: counts.append(external.sweep())) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sum(counts) == len(jobs)
    for job in jobs:
        found = idle_system.get(job)
        assert [entry.event for entry in found.history] == ["timed_out"]
        assert found.state == states.FAILURE


def test_a_worker_that_cannot_write_the_row_starts_the_job_all_the_same(
    idle_system: System,
) -> None:
    sent = idle_system.task("start_inside").apply_async(
        (idle_system.task("ask").name, "late row"), queue="first"
    )
    env = {**idle_system.env, "DATABASE_URL": "postgresql+psycopg://nobody@127.0.0.1:1/nothing"}
    with Worker(TASKS, env=env, queues=("first",)) as blind:
        job_id = sent.get(timeout=30)
        assert "cannot be written now" in blind.log()
    with idle_system.worker():
        job = idle_system.wait_parked(job_id)
    assert (job.args, job.attempt) == (["late row"], 1)
