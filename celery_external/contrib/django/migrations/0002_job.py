"""The job as Django's admin sees it, for the permissions; nothing happens to its table."""

from __future__ import annotations

from typing import ClassVar

from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """Of a model that it does not manage, Django wants to know the options, and no fields."""

    dependencies: ClassVar[list[tuple[str, str]]] = [("celery_external", "0001_initial")]
    operations: ClassVar[list[migrations.CreateModel]] = [
        migrations.CreateModel(
            name="Job",
            fields=[("id", models.TextField(primary_key=True, serialize=False))],
            options={
                "verbose_name": "job",
                "db_table": "celery_external_job",
                "managed": False,
                "base_manager_name": "objects",
                "default_permissions": ("view",),
                "permissions": [
                    ("decide_job", "Can approve and decline jobs"),
                    ("cancel_job", "Can cancel jobs"),
                    ("rerun_job", "Can rerun jobs"),
                    ("extend_job", "Can extend jobs"),
                ],
            },
        ),
    ]
