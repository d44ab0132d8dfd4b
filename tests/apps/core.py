"""The app of most tests: external tasks of every kind beside ordinary ones.

``BROKER_URL``, ``RESULT_URL`` and ``DATABASE_URL`` say where it works; ``CONF`` is more settings
as JSON. What tasks and hooks do is written to the files of the directory ``SCRATCH``, a line each,
so that a test can count and order it.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from functools import partial
from typing import Any

from celery import Task, chain, chord, group
from celery.exceptions import Ignore, Reject
from celery.signals import before_task_publish

from celery_external import (
    ExternalJobFailed,
    ExternalTask,
    Failed,
    Job,
    Succeeded,
    current_job,
)
from tests.apps.making import make_app
from tests.apps.scratch import Scratch
from tests.waiting import wait_for

app = make_app("core", result_extended=True)

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)

scratch = Scratch(os.environ.get("SCRATCH", "."))
SCRATCH, write_line, wait_for_file = scratch.path, scratch.write_line, scratch.wait_for_file


@task(base=ExternalTask, labels=("plain",))
def ask(*args: Any, **kwargs: Any) -> None:
    """Park, whatever it is called with."""
    write_line("triggers", current_job.id)
    current_job.meta["asked"] = [list(args), kwargs]


@task(base=ExternalTask, bind=True)
def ask_bound(self: ExternalTask, question: str) -> dict[str, Any]:
    """Say everything about the job that a trigger may say."""
    self.job.reference = f"ref-{question}"
    self.job.meta["question"] = question
    self.job.progress(1, 10, "asked")
    return {"sent": question}


class AskByClass(ExternalTask):
    """A class-based task."""

    name = "core.ask_by_class"
    timeout = 3600
    labels = ("class", "based")

    def run(self, question: str) -> None:
        """Park."""
        self.job.meta["question"] = question

    def on_parked(self, job: Job) -> None:
        """Note the state in which the hook sees the job."""
        write_line("parked", f"{job.id} {job.state}")


ask_by_class = app.register_task(AskByClass())


@task(base=ExternalTask)
def know(outcome: str, value: Any = None) -> Any:
    """Know the outcome at once."""
    return Succeeded(value) if outcome == "succeeded" else Failed(value)


@task(base=ExternalTask)
def ask_slowly(name: str) -> None:
    """Run until the test writes ``go-NAME``."""
    write_line("started", name)
    wait_for_file(f"go-{name}")
    write_line("ended", name)


@task(base=ExternalTask)
def ask_until_completed(name: str) -> None:
    """Run until somebody has completed the job."""
    write_line("started", name)
    wait_for(current_job.raise_if_completed, what="the job to be completed")


@task(base=ExternalTask)
def ask_slowly_and_fail(name: str) -> None:
    """Run until the test writes ``go-NAME``, then fail."""
    write_line("started", name)
    wait_for_file(f"go-{name}")
    raise RuntimeError(name)


@task(base=ExternalTask)
def ask_badly() -> None:
    """Fail in the trigger."""
    raise ValueError("no such provider")


@task(base=ExternalTask)
def ask_and_ignore() -> None:
    """Leave by Celery's own door."""
    raise Ignore


@task(base=ExternalTask)
def ask_and_reject() -> None:
    """Leave by Celery's other door."""
    raise Reject("not for me", requeue=False)


@task(
    base=ExternalTask,
    autoretry_for=(ExternalJobFailed,),
    max_retries=2,
    retry_kwargs={"countdown": 0},
)
def ask_again(*_args: Any) -> None:
    """Be retried by Celery's own settings."""
    write_line("triggers", f"{current_job.id} {current_job.attempt}")
    current_job.meta["attempts"] = current_job.attempt


@task(base=ExternalTask, autoretry_for=(Exception,), max_retries=2, default_retry_delay=0)
def ask_again_for_anything() -> None:
    """Be retried for whatever happens."""
    write_line("triggers", f"{current_job.id} {current_job.attempt}")


@task(base=ExternalTask, bind=True, max_retries=1)
def retry_itself(self: ExternalTask) -> None:
    """Retry once from inside the trigger, then park."""
    write_line("triggers", f"{self.job.id} {self.job.attempt}")
    if self.request.retries == 0:
        raise self.retry(countdown=0)


@task(base=ExternalTask, bind=True, max_retries=1)
def retry_when_told(self: ExternalTask, name: str) -> None:
    """Retry once, when the test writes ``go-NAME``, then park."""
    if self.request.retries == 0:
        write_line("started", name)
        wait_for_file(f"go-{name}")
        raise self.retry(countdown=0)


@task(base=ExternalTask, bind=True, max_retries=1)
def retry_and_return(self: ExternalTask) -> str:
    """Retry without raising it: the next attempt carries on, whatever this one returns."""
    if self.request.retries == 0:
        self.retry(countdown=0, throw=False)
    return "returned"


@task
def take_nothing() -> str:
    """A next step that does not take the result."""
    return "nothing"


@task(base=ExternalTask, bind=True)
def become(self: ExternalTask, sig: dict[str, Any]) -> Any:
    """Replace itself by another canvas."""
    return self.replace(app.signature(sig))


@task(base=ExternalTask, timeout=0.2, timeout_result={"answer": "none"})
def ask_with_default() -> None:
    """Return a default when nobody answers."""


@task(base=ExternalTask, timeout=0.2)
def ask_with_hook(answer: str) -> None:
    """Ask ``on_timeout`` when nobody answers."""


@ask_with_hook.timed_out  # type: ignore[untyped-decorator]  # celery-types knows no base=
def answer_timeout(job: Job) -> Any:
    """Return, raise, or go on with another step."""
    write_line("on_timeout", f"{job.id} {job.state} {job.kind}")
    assert job.args is not None
    answer = job.args[0]
    if answer == "raise":
        raise LookupError("nobody is there")
    if answer in STEPS:
        return STEPS[answer]()
    if answer.startswith("hold"):
        write_line("holding", answer)
        wait_for_file(f"go-{answer}")
    if answer.endswith("fail"):
        raise LookupError("nobody is there")
    return answer


@task(base=ExternalTask, heartbeat_timeout=0.3, timeout=3600)
def ask_with_heartbeat() -> None:
    """Time out without signs of life."""


@task
def echo(value: Any = None) -> Any:
    """Return what it is given."""
    write_line("echoes", json.dumps(value))
    return value


@task
def wrap(value: Any, name: str) -> list[Any]:
    """Show what came, and where."""
    return [name, value]


#: What ``ask_with_hook`` goes on with.
STEPS: dict[str, Callable[[], Any]] = {
    "step": lambda: echo.si("went on"),
    "external": lambda: ask.si("went on"),
    "chain": lambda: chain(echo.si("went on"), wrap.s("then")),
    "group": lambda: group(echo.si(1), echo.si(2)),
    "chord": lambda: chord([echo.si(1), echo.si(2)], wrap.s("body")),
}


@task
def add(left: int, right: int) -> int:
    """Add."""
    return left + right


@task
def collect(values: Any) -> Any:
    """Return a chord's results, and note that its body ran."""
    write_line("bodies", json.dumps(values))
    return values


@task
def on_error(request: Any, exc: BaseException, _traceback: Any) -> None:
    """An errback that is called in the worker."""
    write_line("errbacks", f"{request.id} {type(exc).__name__} {exc}")


@task
def note_failure(task_id: str) -> None:
    """An errback that is published as a task of its own."""
    write_line("failures", task_id)


@task
def start_inside(name: str, *args: Any) -> str:
    """Publish a task from inside a worker."""
    result = app.tasks[name].delay(*args)
    assert isinstance(result.id, str)
    return result.id


@before_task_publish.connect
def hold_next_step(sender: str, **_kwargs: Any) -> None:
    """Where a test has written ``hold-next``: a worker publishes no step until ``go-next``."""
    if app.current_worker_task is not None and (SCRATCH / "hold-next").exists():
        write_line("publishing", sender)
        wait_for_file("go-next")


class FlaskTask(Task):  # type: ignore[type-arg]
    """What Flask's documentation has people write: every call inside the app's context."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        write_line("contexts", "enter")
        try:
            return self.run(*args, **kwargs)
        finally:
            write_line("contexts", "leave")


class FlaskFirst(FlaskTask, ExternalTask):
    """The documented class in one order."""

    abstract = True


class FlaskLast(ExternalTask, FlaskTask):
    """And in the other."""

    abstract = True


@task(base=FlaskFirst)
def ask_flask_first(value: int) -> None:
    """Park."""


@task(base=FlaskLast)
def ask_flask_last(value: int) -> None:
    """Park."""
