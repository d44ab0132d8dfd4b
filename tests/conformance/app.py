"""The app of the suite: each task twice, ordinary and external, and hooks that write all down.

``BROKER_URL``, ``RESULT_URL`` (empty: no result backend) and ``DATABASE_URL`` say where it works.
What tasks and hooks do goes to the directory ``SCRATCH``: a file for each canvas (``run``), a line
of JSON for each event of one of its tasks (``name``).
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery, Task, _state
from celery.signals import task_failure, task_retry, task_success

from celery_external import ExternalJobFailed, ExternalTask
from tests.conformance.facts import EXTERNAL, ORDINARY, answer, show

app = Celery(
    "conformance", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"] or None
)
app.conf.external_database_url = os.environ["DATABASE_URL"]
app.conf.broker_connection_retry_on_startup = True
# Where a result backend has to look whether a chord is complete, it need not wait a second.
app.conf.result_chord_retry_interval = 0.4

# The tests load this module once a combination; a shared task would belong to every app there is.
task = partial(app.task, shared=False)

SCRATCH = Path(os.environ["SCRATCH"])

#: The tasks that exist in both kinds, with their options.
ROLES: Mapping[str, Mapping[str, Any]] = {
    "step": {},
    "forgetful": {"ignore_result": True},
    "tolerant": {"throws": (ValueError,)},
    "stubborn": {
        "autoretry_for": (ExternalJobFailed,),
        "max_retries": 2,
        "retry_kwargs": {"countdown": 0},
    },
    "modest": {"max_retries": 1},
}


def note(run: str, name: str, task_id: str | None, event: str, **facts: Any) -> None:
    """Append an event; one write of few bytes to a file is atomic."""
    line = json.dumps({"name": name, "id": task_id, "event": event, **show(facts)})
    file = os.open(SCRATCH / f"{run}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    try:
        os.write(file, f"{line}\n".encode())
    finally:
        os.close(file)


def note_of_task(running: Any, event: str, **facts: Any) -> None:
    """Append an event of the task that runs; tasks of Celery's own are not ours to watch."""
    request = running.request
    if "run" in (request.kwargs or {}):
        given = request.kwargs
        note(given["run"], given["name"], request.id, event, tries=request.retries, **facts)


def describe(request: Any) -> dict[str, Any]:
    """What a message says of its task beside the arguments; ours is only what we add to it."""
    headers = request.headers or {}
    return {
        "root": request.root_id,
        "parent": request.parent_id,
        "group": request.group,
        "group_index": request.group_index,
        "retries": request.retries,
        "nesting": request.replaced_task_nesting,
        "correlation": request.correlation_id,
        "reply_to": request.reply_to,
        "priority": (request.delivery_info or {}).get("priority"),
        "routing_key": (request.delivery_info or {}).get("routing_key"),
        "ignore_result": request.ignore_result,
        "stamped_headers": request.stamped_headers,
        "stamps": request.stamps,
        "timelimit": request.timelimit,
        "shadow": request.shadow,
        "headers": {k: v for k, v in headers.items() if not k.startswith("external_")},
    }


class Observed(Task):  # type: ignore[type-arg]  # generic at run time from Celery 5.7 only
    """A task whose hooks write down that they were called, and with what."""

    abstract = True

    def on_success(self, retval: Any, task_id: str, args: Any, kwargs: Any) -> None:
        """Celery's hook."""
        del task_id, kwargs
        note_of_task(self, "on_success", value=retval, args=args, message=describe(self.request))

    def on_failure(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Celery's hook."""
        del task_id, kwargs
        note_of_task(
            self, "on_failure", exc=exc, args=args, einfo=einfo.type, message=describe(self.request)
        )

    def on_retry(self, exc: Any, task_id: str, args: Any, kwargs: Any, einfo: Any) -> None:
        """Celery's hook."""
        del task_id, kwargs
        note_of_task(self, "on_retry", exc=exc, args=args, einfo=einfo.type)

    def after_return(  # noqa: PLR0917 - Celery's signature
        self, status: str, retval: Any, task_id: str, args: Any, kwargs: Any, einfo: Any
    ) -> None:
        """Celery's hook."""
        del task_id, kwargs
        note_of_task(
            self, "after_return", status=status, value=retval, args=args, einfo=type(einfo)
        )


class ObservedExternal(Observed, ExternalTask):
    """The same, parking."""

    abstract = True


def begin(
    self: Any, given: tuple[Any, ...], hesitates: int, starts: Mapping[str, Any] | None
) -> None:
    """What both kinds do first."""
    note_of_task(self, "run", args=given)
    if starts is not None:
        app.signature(starts).apply_async()
    if self.request.retries < hesitates:
        raise self.retry(countdown=0)


def answer_at_once(
    self: Any,
    *given: Any,
    run: str,
    name: str,
    does: Any = None,
    becomes: Mapping[str, Any] | None = None,
    hesitates: int = 0,
    starts: Mapping[str, Any] | None = None,
) -> Any:
    """The ordinary task."""
    del run
    begin(self, given, hesitates, starts)
    if becomes is not None:
        return self.replace(app.signature(becomes))
    return answer(name, given, does, self.request.retries - hesitates)


def park(
    self: Any,
    *given: Any,
    run: str,
    name: str,
    does: Any = None,
    becomes: Mapping[str, Any] | None = None,
    hesitates: int = 0,
    starts: Mapping[str, Any] | None = None,
) -> Any:
    """The external task: the test does what it ``does``."""
    del does
    self.job.meta["run"] = run
    self.job.meta["name"] = name
    begin(self, given, hesitates, starts)
    return None if becomes is None else self.replace(app.signature(becomes))


for role, options in ROLES.items():
    task(name=f"{ORDINARY}.{role}", base=Observed, bind=True, **options)(answer_at_once)
    task(name=f"{EXTERNAL}.{role}", base=ObservedExternal, bind=True, **options)(park)


@task(name="errback")
def note_failure(request: Any, exc: Any, traceback: Any, *, run: str, name: str) -> None:
    """A link_error of the new style, called where the task failed."""
    note(run, name, None, "errback", of=request.id, exc=exc, traceback=type(traceback))


@task(name="old_errback", base=Observed)
def note_failed_id(failed_id: str, *, run: str, name: str) -> None:
    """A link_error of the old style: a task of its own that is told an id."""
    del run, name
    note_of_task(_state.get_current_task(), "run", of=failed_id)


@task_success.connect
def note_success_signal(sender: Any, result: Any, **_kwargs: Any) -> None:
    """A receiver."""
    note_of_task(sender, "task_success", value=result)


@task_failure.connect
def note_failure_signal(sender: Any, exception: Any, einfo: Any, **_kwargs: Any) -> None:
    """A receiver."""
    note_of_task(sender, "task_failure", exc=exception, einfo=einfo.type)


@task_retry.connect
def note_retry_signal(sender: Any, reason: Any, **_kwargs: Any) -> None:
    """A receiver."""
    note_of_task(sender, "task_retry", exc=reason.exc, when=reason.when)


class LogNotes(logging.Handler):
    """How Celery logs an end that is not a success: ``throws`` shows nowhere else."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write it down, if it is the end and not the park."""
        description = getattr(record, "data", {}).get("description", "ignored")
        task: Any = _state.get_current_task()
        if description != "ignored" and task is not None:
            note_of_task(task, "log", level=record.levelname, description=description)


_log_notes = LogNotes()
logging.getLogger("celery.app.trace").addHandler(_log_notes)
