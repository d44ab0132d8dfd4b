"""An app whose own task class parks, with the kinds of tasks that Celery's users define."""

from __future__ import annotations

import os
from typing import Any

from celery import Celery, Task, shared_task
from pydantic import BaseModel

from celery_external import ExternalTask, current_job


class ContextTask(Task):  # type: ignore[type-arg]
    """A task class that wraps every call, as Flask's documentation shows."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return super().__call__(*args, **kwargs)


class ParkingTask(ContextTask, ExternalTask):
    """Every ``@app.task`` of this app parks."""

    abstract = True


app = Celery(
    "kinds",
    broker=os.environ["BROKER_URL"],
    backend=os.environ["RESULT_URL"],
    task_cls=ParkingTask,
)
app.conf.external_database_url = os.environ["DATABASE_URL"]
app.conf.broker_connection_retry_on_startup = True
app.conf.accept_content = ["json", "pickle"]


class Order(BaseModel):
    """What a pydantic task takes."""

    amount: int


@app.task(name="kinds.by_task_cls")
def by_task_cls(value: Any) -> None:
    """Park without saying so."""


@app.task(name="kinds.pickled", serializer="pickle")
def pickled(value: Any) -> None:
    """Take what only pickle carries."""
    assert isinstance(value, set)


@app.task(name="kinds.pydantic", pydantic=True)
def takes_a_model(order: Order) -> None:
    """Take a model."""
    current_job.meta["amount"] = order.amount


@shared_task(name="kinds.shared", base=ExternalTask, bind=True)
def shared(self: ExternalTask, value: Any) -> None:
    """Park in whatever app it finds itself."""
    self.job.meta["value"] = value


@app.task(name="kinds.next", base=Task)
def next_step(value: Any) -> Any:
    """An ordinary task."""
    return value
