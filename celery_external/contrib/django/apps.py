"""The app for INSTALLED_APPS: it has the migrations, and jobs for the admin."""

from __future__ import annotations

from django.apps import AppConfig
from django.core import checks

from .checks import check_admin


class CeleryExternalConfig(AppConfig):  # type: ignore[misc]  # Django has no types
    """celery-external's tables; with ``django.contrib.admin`` installed, its pages."""

    name = "celery_external.contrib.django"
    label = "celery_external"
    verbose_name = "Celery external jobs"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Django has started."""
        checks.register(check_admin)
