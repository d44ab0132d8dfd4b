"""A process that is killed between Django's commit and the message: the sweep sends."""

from __future__ import annotations

import pytest
import sqlalchemy as sa

from celery_external import External, states
from tests.django.runs import PROJECT, SETUP, Project
from tests.kills.gate import Gate
from tests.processes import Process, Worker
from tests.waiting import wait_for

START = """
with transaction.atomic():
    Order.objects.create(name="cup")
    ask.delay("cup")
"""
SIGNAL = """
with transaction.atomic():
    Order.objects.create(name="cup")
    signal_succeeded({job!r}, "yes")
"""
#: What kombu publishes with on Redis.
PUBLISH = rb"LPUSH"


def let_time_pass(project: Project) -> None:
    engine = sa.create_engine(project.env["DATABASE_URL"])
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "UPDATE celery_external_job SET wake_at = created_at WHERE wake_at IS NOT NULL"
        )
    engine.dispose()


def kill_between(project: Project, code: str) -> None:
    """Run the code in a process that is killed when it has committed and begins to send."""
    with Gate(project.env["BROKER_URL"], PUBLISH) as gate:
        caller = Process(
            "tests.django.execute",
            SETUP + code,
            env={**project.environment, "BROKER_URL": gate.url},
        )
        with caller:
            gate.wait()
            caller.kill()
    assert project.run("print(Order.objects.count())").strip() == "1"


@pytest.mark.parametrize("what", ["start", "signal"])
def test_the_sweep_sends_what_was_committed(
    project: Project, observer: External, what: str
) -> None:
    job = ""
    if what == "signal":
        job = project.run("print(ask.delay('cup').id)").strip()
    kill_between(project, START if what == "start" else SIGNAL.format(job=job))
    (row,) = observer.find_jobs(order="created")
    assert row.state == (states.PENDING if what == "start" else states.SUCCESS)
    with Worker(PROJECT, env=project.environment):
        let_time_pass(project)
        end = states.PARKED if what == "start" else states.SUCCESS
        wait_for(
            lambda: (
                (found := observer.get_job(row.id)).state == end
                and found.settled == (what == "signal")
            ),
            what="the job to go on",
        )
