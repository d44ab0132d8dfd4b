"""A traced process that is no worker: ``start`` starts jobs in one trace, ``signal`` in another.

What it did is written to the file ``start`` or ``signal`` of the app's directory, as JSON.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from typing import Any

import sentry_sdk
import sqlalchemy as sa
from celery import chain

from celery_external import get_external
from tests.apps import traced


def start() -> dict[str, str]:
    """Start a job of each kind; by kind its id."""
    ask, again, hurry, echo = traced.ask, traced.again, traced.hurry, traced.echo
    chained: Any = chain(ask.s(), echo.s()).apply_async()
    return {
        "resumed": chained.parent.id,
        "next step": chained.id,
        "retried": again.delay().id,
        "run again": ask.delay().id,
        "continued": ask.delay().id,
        "continued in a transaction": ask.delay().id,
        "timed out": hurry.delay().id,
        "sent by name": traced.app.send_task("traced.ask").id,
        "failed": ask.delay().id,
    }


def signal(jobs: dict[str, str]) -> dict[str, str]:
    """Say what became of them, and what comes next."""
    external = get_external(traced.app)
    external.signal_succeeded(jobs["resumed"], "yes")
    external.signal_succeeded(jobs["sent by name"], "yes")
    external.signal_failed(jobs["retried"], "try again")
    external.rerun_job(jobs["run again"])
    external.signal_failed(jobs["failed"], "no")
    external.signal_succeeded(jobs["continued"], continue_with=traced.ask.s())
    engine = sa.create_engine(traced.app.conf.external_database_url)
    with engine.begin() as connection:
        job = jobs["continued in a transaction"]
        external.signal_succeeded(job, continue_with=traced.ask.s(), using=connection)
    engine.dispose()
    return jobs


def act(name: str, do: Callable[[], dict[str, str]]) -> None:
    """Do it in a span and a transaction of its own."""
    tracer = traced.trace_with_opentelemetry().get_tracer(name)
    with (
        tracer.start_as_current_span(name) as span,
        sentry_sdk.start_transaction(name=name) as transaction,
    ):
        told: dict[str, Any] = {
            "jobs": do(),
            "otel": f"{span.get_span_context().trace_id:032x}",
            "sentry": transaction.trace_id,
        }
    traced.scratch.write_line(name, json.dumps(told))


if __name__ == "__main__":
    if sys.argv[1] == "start":
        act("start", start)
    else:
        given = json.loads(traced.scratch.lines("start")[0])["jobs"]
        act("signal", lambda: signal(given))
