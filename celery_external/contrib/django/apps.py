"""The app for INSTALLED_APPS: it has the migrations."""

from __future__ import annotations

from django.apps import AppConfig


class CeleryExternalConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """celery-external's tables."""

    name = "celery_external.contrib.django"
    label = "celery_external"
    verbose_name = "Celery external jobs"
