"""The user's own tasks."""

from __future__ import annotations

from typing import Any

import psutil
from celery import shared_task
from django.db import connection, transaction

from celery_external import current_job
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
@transaction.atomic
def retry_inside(self: Any) -> None:
    """The retry would be rolled back."""
    raise self.retry(countdown=0)


@shared_task(base=DjangoExternalTask, bind=True)
@transaction.atomic
def refer(self: Any, reference: str) -> None:
    """Goes on with its transaction where its reference is another job's."""
    try:
        self.job.reference = reference
    except ValueError:
        self.job.meta["taken"] = reference


def count_connections() -> int:
    """How many connections there are to the database: of anybody's, or of this process's."""
    if connection.vendor == "sqlite":
        name = str(connection.settings_dict["NAME"])
        return sum(opened.path == name for opened in psutil.Process().open_files())
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()")
        return int(cursor.fetchone()[0])
