"""The base class of external tasks in a Django project."""

from __future__ import annotations

from celery.contrib.django.task import DjangoTask

from celery_external.task import ExternalTask


class DjangoExternalTask(ExternalTask, DjangoTask):  # type: ignore[type-arg]  # as ExternalTask
    """An :class:`ExternalTask` with Celery's ``delay_on_commit`` and ``apply_async_on_commit``.

    With ``external_database_url = "django://…"`` an ordinary ``delay`` inside ``atomic()`` is as
    good: its row is part of the transaction, and its message goes out after the commit.
    """

    abstract = True
