"""The user's own tasks."""

from __future__ import annotations

from typing import Any

import psutil
import pydantic
from celery import shared_task
from django.db import connection, transaction

from celery_external import ReferenceTakenError, current_job
from celery_external.contrib.django import DjangoExternalTask
from tests.django.project.shop.models import Order


@shared_task(base=DjangoExternalTask)
def ask(name: str = "nobody") -> None:
    """The trigger: has somebody look at it."""
    current_job.meta["asked"] = name
    current_job.meta["connections"] = count_connections()


@shared_task
def publish(approval: Any) -> Any:
    """The step after."""
    Order.objects.filter(name=approval["name"]).update(job_id="published")
    return approval


@shared_task(base=DjangoExternalTask)
def ask_and_fail(name: str) -> None:
    """All that it did is undone with its transaction, but not the job."""
    with transaction.atomic():
        Order.objects.create(name=name)
        current_job.meta["asked"] = name
        raise ValueError(name)


@shared_task(base=DjangoExternalTask, bind=True)
def retry_inside(self: Any) -> None:
    """The retry would be rolled back."""
    with transaction.atomic():
        raise self.retry(countdown=0)


@shared_task(base=DjangoExternalTask, bind=True)
def refer(self: Any, reference: str) -> None:
    """Goes on with its transaction where its reference is another job's."""
    with transaction.atomic():
        try:
            self.job.reference = reference
        except ReferenceTakenError:
            self.job.meta["taken"] = reference


class Judgement(pydantic.BaseModel):
    """What a judge fills in."""

    note: str = pydantic.Field(max_length=20, description="In a few <words>.")
    stars: int = pydantic.Field(default=3, ge=1, le=5)


@shared_task(base=DjangoExternalTask, choices=("good", "bad"), form=Judgement)
def judge(name: str) -> None:
    """Waits for a judge."""
    current_job.meta["asked"] = name


@shared_task
def note(judgement: Any) -> str:
    """The step after."""
    return f"{judgement['choice']} {judgement['note']}"


@shared_task(base=DjangoExternalTask, result_type=Judgement)
def measure() -> None:
    """Waits for a result of a kind."""


def count_connections() -> int:
    """How many connections this process has to the database, Django's own among them."""
    connection.ensure_connection()
    process = psutil.Process()
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        return sum(opened.path == name for opened in process.open_files())
    port = int(connection.settings_dict["PORT"])
    return sum(
        bool(made.raddr) and made.raddr.port == port and made.status == psutil.CONN_ESTABLISHED
        for made in process.net_connections("tcp")
    )
