"""An app whose worker logs in JSON, to the file ``log`` of the directory ``SCRATCH``."""

from __future__ import annotations

import logging
import os
from functools import partial
from typing import Any

from celery.signals import setup_logging

from celery_external import ExternalTask, current_job
from tests.apps.making import make_app
from tests.apps.scratch import Scratch
from tests.monitoring.json_lines import JsonFormatter

app = make_app("logged")

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)
scratch = Scratch(os.environ.get("SCRATCH", "."))


@task(base=ExternalTask, name="logged.ask")
def ask(reference: str | None = None) -> None:
    """Park."""
    if reference is not None:
        current_job.reference = reference


@task(base=ExternalTask, name="logged.hurry", timeout=0.3)
def hurry() -> None:
    """Park, and time out."""


@hurry.timed_out  # type: ignore[untyped-decorator]  # lost in the partial
def answer_timeout(_job: Any) -> None:
    """Fail where it should answer."""
    raise RuntimeError("no answer")


@task(base=ExternalTask, name="logged.die")
def die() -> None:
    """Take the process along."""
    os._exit(1)


@task(base=ExternalTask, name="logged.mumble")
def mumble() -> object:
    """Return what no serializer takes."""
    return object()


def log_in_json(**_kwargs: Any) -> None:
    """In place of Celery's own logging."""
    handler = logging.FileHandler(scratch.path / "log")
    handler.setFormatter(JsonFormatter())
    logging.root.addHandler(handler)
    logging.root.addHandler(logging.StreamHandler())
    logging.root.setLevel(logging.INFO)


if "LOGS" in os.environ:
    setup_logging.connect(log_in_json)
