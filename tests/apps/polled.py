"""An app whose tasks ask the outside world themselves: files of the directory ``SCRATCH``."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from celery_external import (
    ExternalJobFailed,
    ExternalTask,
    Failed,
    Job,
    Progress,
    Succeeded,
    current_job,
)
from tests.apps.making import make_app
from tests.apps.scratch import Scratch

app = make_app("polled")

task = partial(app.task, shared=False)
scratch = Scratch(os.environ.get("SCRATCH", "."))


@task(
    base=ExternalTask,
    poll_interval=0.1,
    autoretry_for=(ExternalJobFailed,),
    max_retries=1,
    retry_kwargs={"countdown": 0},
)
def render(name: str) -> None:
    """Start work of which the provider tells in the file ``NAME-ATTEMPT``."""
    current_job.reference = f"{name}-{current_job.attempt}"


@render.poller  # type: ignore[untyped-decorator]  # celery-types knows no base=
def ask_provider(jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
    """Tell what the provider says last of each job."""
    for job in jobs:
        scratch.write_line("polls", job.reference)
        match [None, *scratch.lines(str(job.reference))][-1]:
            case "half":
                yield job, Progress(1, 2, "half")
            case "no GPU":
                yield job, Failed("no GPU")
            case "away":
                raise ConnectionError("the provider is away")
            case str(result):
                yield job, Succeeded(result)


class Hang(ExternalTask):
    """A task whose provider does not answer until the test writes ``go-on``."""

    name = "polled.hang"
    poll_interval = 0.1

    def run(self) -> None:
        """Park."""

    def poll(self, jobs: Sequence[Job]) -> list[tuple[str, Succeeded]]:
        """Hang."""
        scratch.write_line("hanging", len(jobs))
        scratch.wait_for_file("go-on")
        return [(job.id, Succeeded("at last")) for job in jobs]


hang = app.register_task(Hang())


@task(base=ExternalTask)
def ask() -> None:
    """Park."""


@task
def echo(value: Any) -> Any:
    """Return what it is given."""
    return value
