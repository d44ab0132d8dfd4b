"""The app of the soak: external tasks among ordinary ones; each step writes down that it ran.

``BROKER_URL``, ``RESULT_URL`` and ``DATABASE_URL`` say where it works, ``CONF`` is more settings as
JSON, ``SCRATCH`` the directory of the notes. Ordinary steps are acked late and handed back when
their process is lost: what Celery loses in spite of that is not asked of us.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import time
from functools import partial
from pathlib import Path
from typing import Any

from celery import Celery, _state
from celery.signals import after_task_publish, task_failure, task_internal_error

from celery_external import ExternalJobFailed, ExternalTask
from celery_external.installation import installation_of
from tests.soak.notes import Notes

app = Celery("soak", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.external_database_url = os.environ["DATABASE_URL"]
app.conf.update(json.loads(os.environ["CONF"]))

notes = Notes(Path(os.environ["SCRATCH"]))

LATE: dict[str, Any] = {"acks_late": True, "reject_on_worker_lost": True}

task = partial(app.task, shared=False)
#: A trigger is over at once: one that is not, was killed.
external = partial(task, base=ExternalTask, trigger_timeout=4)


def park(*_args: Any, unit: str, step: str) -> None:
    """A trigger that has nothing to do."""


ask = external(name="ask")(park)
ask_late = external(name="ask_late", **LATE)(park)
ask_again = external(
    name="ask_again",
    autoretry_for=(ExternalJobFailed,),
    max_retries=2,
    retry_kwargs={"countdown": 0},
)(park)
ask_with_default = external(name="ask_with_default", timeout=1, timeout_result="nobody")(park)
ask_in_time = external(name="ask_in_time", timeout=1)(park)


@external(name="become", bind=True)
def become(self: ExternalTask, *, unit: str, step: str) -> Any:
    """Go on as an ordinary step."""
    return self.replace(record.si(unit=unit, step=f"{step}.became"))


@task(name="record", bind=True, **LATE)
def record(self: Any, value: Any = None, *, unit: str, step: str) -> Any:
    """A continuation: write down that it ran, and with what."""
    notes.write("ran", unit=unit, step=step, id=self.request.id, value=value)
    return value


@task(name="record_error")
def record_error(
    request: Any, exc: BaseException, _traceback: Any, *, unit: str, step: str
) -> None:
    """An errback."""
    notes.write("ran", unit=unit, step=step, id=request.id, value=type(exc).__name__)


@task(name="report", **LATE)
def report(seconds: float) -> None:
    """Say which process this is and what it holds; take long enough for others to be asked too."""
    database: Any = installation_of(app).database
    pool = database.engine.pool
    gc.collect()
    notes.write("processes", pid=os.getpid(), out=pool.checkedout(), objects=len(gc.get_objects()))
    time.sleep(seconds)


# --- What Celery says of itself -------------------------------------------------------------------


@after_task_publish.connect
def note_published(headers: Any = None, body: Any = None, **_kwargs: Any) -> None:
    """The broker has the message: whatever is missing from here on, it or Celery has lost."""
    kwargs = body[1] if isinstance(body, (list, tuple)) else {}
    if "unit" in kwargs:
        place = {"unit": kwargs["unit"], "step": kwargs["step"]}
        notes.write("published", **place, id=headers["id"], row="external_attempt" in headers)


@task_failure.connect
@task_internal_error.connect
def note_failure(
    sender: Any = None, exception: Any = None, kwargs: Any = None, **_kwargs: Any
) -> None:
    """An ordinary step has failed, for what Celery could not do after it.

    By an internal error where its result could not be stored: then its chord has lost a part.
    """
    if not isinstance(sender, ExternalTask) and kwargs and "unit" in kwargs:
        place = {"unit": kwargs["unit"], "step": kwargs["step"]}
        notes.write("failed", **place, problem=repr(exception))


class ChordFailures(logging.Handler):
    """The result backend gives a chord up: it says so in its log only."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write down which chord, and whose part was the last."""
        running = _state.get_current_task()
        if record.levelno >= logging.ERROR and running is not None:
            request: Any = running.request
            kwargs = request.kwargs or {}
            notes.write(
                "chords",
                unit=kwargs.get("unit"),
                step=kwargs.get("step"),
                external=isinstance(running, ExternalTask),
                problem=record.getMessage(),
            )


logging.getLogger("celery.backends.redis").addHandler(ChordFailures())
