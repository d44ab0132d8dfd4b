"""An app whose tasks end in every way that Celery knows, where and when a test says so.

As in :mod:`tests.apps.core`, ``SCRATCH`` is where the tasks write what they do, a line each, and
where they find what a test tells them: ``hold`` in a task's plan waits for the file ``go-NAME``.
"""

from __future__ import annotations

import json
import os
import sys
import time
from functools import partial
from typing import Any, ClassVar

from celery.exceptions import Ignore, Reject

from celery_external import ExternalTask, Job
from tests.apps.making import make_app
from tests.apps.scratch import Scratch

scratch = Scratch(os.environ["SCRATCH"])
SCRATCH, write_line, lines = scratch.path, scratch.write_line, scratch.lines


def route(name: str, _args: Any, kwargs: Any, *_others: Any, **_options: Any) -> None:
    """A user's router: it runs where a task is published, and may take its time."""
    if name.endswith(".note_success") and "hold" in kwargs:
        hold(f"{kwargs['job_name']}-{kwargs['hold']}")


app = make_app("ends", result_extended=True, task_routes=(route,))

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)


def hold(name: str) -> None:
    """Say that it has come so far, and stay there until the test says go on."""
    write_line("holding", name)
    scratch.wait_for_file(f"go-{name}")


def leave_by(door: str, name: str) -> None:
    """Leave as the plan says."""
    if door == "raise":
        raise RuntimeError(name)
    if door == "reject":
        raise Reject(name, requeue=False)
    if door == "requeue":
        raise Reject(name, requeue=True)
    if door == "ignore":
        raise Ignore(name)
    if door == "exit":
        sys.exit(name)


class Planned(ExternalTask):
    """A task whose hooks do what the call says: ``plan`` is what happens where.

    Places: ``trigger`` (before ``door``), ``on_parked``, ``on_timeout``, ``on_success``,
    ``on_failure``, ``after_return``, ``on_retry``, ``before_start``, ``call``. What happens:
    ``hold``, or a door of :func:`leave_by`; by ``hold-twice`` it holds again.
    """

    abstract = True
    autoretry_for: ClassVar[tuple[type[Exception], ...]] = (ConnectionError,)
    retry_kwargs: ClassVar[dict[str, Any]] = {"countdown": 0}
    max_retries = 1

    def do(self, place: str) -> None:
        """Do what the call's plan has for this place."""
        kwargs = self.request.kwargs or {}
        name, what = kwargs.get("name", ""), kwargs.get("plan", {}).get(place)
        if what is None:
            return
        write_line("places", f"{name} {place}")
        if what == "hold":
            hold(f"{name}-{place}")
        else:
            leave_by(what, name)

    def do_before(self, place: str) -> None:
        """Do it before the trigger, or only before a resume, until the test mends it."""
        self.do(place)
        name = (self.request.kwargs or {})["name"]
        if name in lines("triggers") and not (SCRATCH / f"mended-{name}").exists():
            self.do(f"{place} of a resume")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        self.do_before("call")
        return super().__call__(*args, **kwargs)

    def before_start(self, *_args: Any) -> None:
        """Before ``run``."""
        self.do_before("before_start")

    def on_parked(self, job: Job) -> None:
        """After the park."""
        assert job.id == self.request.id
        self.do("on_parked")

    def on_timeout(self, job: Job) -> Any:
        """While an outcome is handed on."""
        assert job.id == self.request.id
        self.do("on_timeout")
        return "late"

    def on_success(self, *_args: Any) -> None:
        """After Celery has stored a success."""
        self.do("on_success")

    def on_failure(self, *_args: Any) -> None:
        """After Celery has stored a failure."""
        self.do("on_failure")

    def on_retry(self, *_args: Any) -> None:
        """After Celery has stored a retry."""
        self.do("on_retry")

    def after_return(self, *_args: Any) -> None:
        """At the end."""
        self.do("after_return")


def trigger(self: Planned, *, name: str, plan: dict[str, str], door: str = "park") -> None:
    """The trigger of all planned tasks."""
    assert plan is not None
    write_line("triggers", name)
    self.do("trigger")
    if door == "requeue once":
        delivered: Any = self.request.delivery_info
        door = "park" if delivered["redelivered"] else "requeue"
    if door == "retry":
        raise self.retry(countdown=0)
    leave_by(door, name)


act = task(base=Planned, bind=True, name="ends.act")(trigger)
act_late = task(base=Planned, bind=True, name="ends.act_late", acks_late=True)(trigger)
act_again = task(
    base=Planned, bind=True, name="ends.act_again", acks_late=True, reject_on_worker_lost=True
)(trigger)


@task(name="ends.note_success")
def note_success(value: Any, job_name: str, hold: str | None = None) -> Any:
    """The next step of every job."""
    assert hold is None or hold
    write_line("steps", f"{job_name} {json.dumps(value)}")
    return value


@task
def note_failure(_request: Any, exc: BaseException, _traceback: Any, job_name: str) -> None:
    """The errback of every job."""
    write_line("errbacks", f"{job_name} {type(exc).__name__}")


@task
def occupy(name: str) -> None:
    """Keep a pool's child busy."""
    hold(name)


@task
def say(value: Any) -> Any:
    """Return what it is given: what was sent before has been taken."""
    write_line("said", f"{value} {time.time()}")
    return value
