"""Tasks that say what their results are, in every way that pydantic knows."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from functools import partial
from typing import Annotated, Any

from celery.result import allow_join_result
from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from celery_external import ExternalTask, Job, Succeeded
from tests.apps.making import make_app

app = make_app("typed")

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)


class Video(BaseModel):
    """A model with a field that JSON has no word for."""

    url: str
    seconds: int
    made: datetime | None = None


@dataclass
class Point:
    """A dataclass."""

    x: int
    y: int


class Size(TypedDict):
    """A mapping."""

    width: int


class Render(ExternalTask[[str], Video]):
    """A class-based task."""

    name = "typed.render"
    result_type = Video

    def run(self, prompt: str) -> None:
        """Park."""
        self.job.meta["prompt"] = prompt


render = app.register_task(Render())


@task(base=ExternalTask[[], list[int]], result_type=list[int])
def count() -> None:
    """Park for numbers."""


@task(base=ExternalTask, result_type=int | None)
def perhaps() -> None:
    """Park for a number or nothing."""


@task(base=ExternalTask, result_type=Point)
def place() -> None:
    """Park for a dataclass."""


@task(base=ExternalTask, result_type=Size)
def measure() -> None:
    """Park for a mapping."""


@task(base=ExternalTask, result_type=Annotated[int, Field(gt=0)])
def rate() -> None:
    """Park for a number above zero."""


@task(base=ExternalTask, result_type=Video)
def know(video: Any) -> Any:
    """Know the result at once."""
    return Succeeded(video)


@task(base=ExternalTask, result_type=Video, bind=True)
def become(self: ExternalTask, sig: dict[str, Any]) -> Any:
    """Be replaced by a step that gives something else."""
    with allow_join_result():  # which Celery wants of an eager one
        return self.replace(app.signature(sig))


@task(base=ExternalTask, result_type=Video, timeout=0.1)
def wait(answer: Any) -> None:
    """Park, and answer the timeout with an argument."""


@wait.timed_out  # type: ignore[untyped-decorator]  # lost in the partial
def answer_timeout(job: Job) -> Any:
    """Answer with the job's argument."""
    assert job.args is not None
    return job.args[0]


@task(pydantic=True)
def celerys_own(video: Video) -> Video:
    """Return a model as Celery's own support has it."""
    return video


@task
def echo(value: Any = None) -> Any:
    """Return what it is given."""
    return value
