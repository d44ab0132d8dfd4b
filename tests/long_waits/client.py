"""Who starts the canvases and, long after, waits for their results: a process of its own.

``python -m tests.long_waits.client start`` or ``read``; what there is to say goes to a file of the
directory ``SCRATCH``. A process of its own, for Django's settings are a process's for good.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import django
from celery import chain, chord, group
from celery.result import AsyncResult, GroupResult
from django.core.management import call_command

SCRATCH = Path(os.environ["SCRATCH"])
#: Seconds for all of them together.
PATIENCE = 20
STARTED, READ = SCRATCH / "started.json", SCRATCH / "read.json"


def make_canvases(tasks: Any) -> dict[str, Any]:
    """Each has external members among ordinary ones, which are done at once."""
    ask, echo, collect = tasks.ask, tasks.echo, tasks.collect
    return {
        "chord": chord([echo.s(1), ask.s(), echo.s(3)], collect.s()),
        "chains in a chord": chord([chain(ask.s(), echo.s()), echo.s(2)], collect.s()),
        "chord in a chord": chord(
            [chord([ask.s(), echo.s(2)], collect.s()), echo.s(3)], collect.s()
        ),
        "chord in a chain in a chord": chord(
            [chain(group(ask.s(), echo.s(2)), collect.s(), echo.s()), echo.s(3)], collect.s()
        ),
        "group at a chain's end in a chord": chord(
            [chain(echo.s(1), group(ask.si(), echo.s())), echo.s(3)], collect.s()
        ),
        "saved group": group(echo.s(1), ask.s(), chain(ask.s(), echo.s())),
        "saved group of groups": group(group(ask.s(), echo.s(2)), echo.s(3)),
    }


def start_chord(tasks: Any) -> None:
    """Start a chord of two externals and write down its group and body."""
    result: Any = chord([tasks.ask.s(), tasks.ask.s(), tasks.echo.s(3)], tasks.collect.s())()
    STARTED.write_text(json.dumps({"group": result.parent.id, "body": result.id}))


#: django-celery-results counts a chain that ends in a group as one part, whoever waits for it.
NOT_ON_DJANGO = "group at a chain's end in a chord"


def start(tasks: Any) -> None:
    """Start them all and write down their results, as Celery stores them."""
    started: dict[str, Any] = {}
    canvases = make_canvases(tasks)
    if tasks.app.conf.result_backend == "django-db":
        del canvases[NOT_ON_DJANGO]
    for name, canvas in canvases.items():
        result = canvas.apply_async()
        if isinstance(result, GroupResult):
            result.save()
        started[name] = result.as_tuple()
    STARTED.write_text(json.dumps(started))


def read(tasks: Any) -> None:
    """Wait for the results and write down what they are."""
    print("waits for the results", flush=True)  # noqa: T201 - the test waits for it
    deadline = time.monotonic() + PATIENCE
    made: dict[str, Callable[[str], Any]] = {
        "saved": lambda group_id: GroupResult.restore(group_id, app=tasks.app),
        "chord": lambda task_id: AsyncResult(task_id, app=tasks.app),
    }
    found: dict[str, Any] = {}
    for name, ((result_id, _parent), _members) in json.loads(STARTED.read_text()).items():
        make = made["saved" if name.startswith("saved") else "chord"]
        try:
            found[name] = make(result_id).get(timeout=max(1, deadline - time.monotonic()))
        except Exception as exc:  # noqa: BLE001 - each canvas is looked at
            found[name] = repr(exc)
    READ.write_text(json.dumps(found))


if __name__ == "__main__":
    if os.environ["RESULT_URL"] == "django-db":
        django.setup()
        call_command("migrate", verbosity=0)
    from tests.apps import core

    {"start": start, "read": read, "start_chord": start_chord}[sys.argv[1]](core)
