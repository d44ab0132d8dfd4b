"""The tables of jobs, their history and kept signals."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations

from celery_external.contrib.django.operations import UpgradeTables


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Alembic's revision 0001."""

    initial = True
    dependencies: ClassVar[list[tuple[str, str]]] = []
    operations: ClassVar[list[UpgradeTables]] = [UpgradeTables(None, "0001")]
