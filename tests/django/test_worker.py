"""A worker of a Django project: its statements run on Django's connections and on no other."""

from __future__ import annotations

import psutil

from celery_external import External, Job
from tests.django.runs import PROJECT, Project
from tests.processes import Worker
from tests.waiting import wait_for

START = """
from celery import chain
with transaction.atomic():
    Order.objects.create(name="cup")
    chained = chain(ask.s("cup"), publish.s()).apply_async()
    started = [
        chained.parent, ask.apply_async(timeout=0.1), ask_and_fail.delay("undone"),
        retry_inside.delay(), refer.delay("r"),
    ]
print(*(job.id for job in started))
"""
FINISH = """
import sys
with transaction.atomic():
    signal_succeeded({job!r}, {{"name": "cup"}}, by="alice")
print(refer.delay("r").id)
"""


def wait_until(observer: External, job: str, state: str, *, settled: bool) -> Job:
    def look() -> Job | None:
        found = observer.get_job(job)
        return found if found.state == state and found.settled == settled else None

    waited = wait_for(look, timeout=60, what=f"job {job} to be {state}")
    assert waited is not None
    return waited


def connections_of(pid: int, project: Project) -> int:
    """How many connections a process has to the database."""
    url, process = project.env["DATABASE_URL"], psutil.Process(pid)
    if url.startswith("sqlite"):
        path = url.removeprefix("sqlite:///")
        return sum(opened.path == path for opened in process.open_files())
    port = int(url.rsplit(":", 1)[1].split("/")[0])
    return sum(
        bool(made.raddr) and made.raddr.port == port for made in process.net_connections("tcp")
    )


def test_jobs_of_a_project(project: Project, observer: External) -> None:
    with Worker(PROJECT, env=project.environment) as worker:
        asked, late, failed, retried, first = project.run(START).split()
        found = wait_until(observer, asked, "PARKED", settled=False)
        assert dict(found.meta or {}) == {"asked": "cup", "connections": 1}
        assert wait_until(observer, late, "FAILURE", settled=True).kind == "timed_out"
        # What a trigger writes in atomic() is undone with it, and what became of it is not.
        undone = wait_until(observer, failed, "FAILURE", settled=True)
        assert (undone.reason, undone.meta) == ("ValueError: undone", {})
        refused = wait_until(observer, retried, "FAILURE", settled=True)
        assert "leave atomic() first" in str(refused.reason)
        wait_until(observer, first, "PARKED", settled=False)
        (second,) = project.run(FINISH.format(job=asked)).split()
        # A reference that is taken leaves the transaction of the trigger usable.
        assert dict(wait_until(observer, second, "PARKED", settled=False).meta or {}) == {
            "taken": "r"
        }
        assert wait_until(observer, asked, "SUCCESS", settled=True).completed_by == "alice"
        wait_for(
            lambda: (
                project.run("print(*Order.objects.values_list('name', 'job_id'))").strip()
                == "('cup', 'published')"
            ),
            what="the next step",
        )
        # Between two sweeps, and between two tasks, a worker holds nothing.
        for pid in (worker.pid, *worker.children()):
            wait_for(
                lambda pid=pid: connections_of(pid, project) == 0,  # type: ignore[misc]
                what="the worker to close its connections",
            )
