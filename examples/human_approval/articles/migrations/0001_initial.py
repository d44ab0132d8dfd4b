"""The articles' table."""

from __future__ import annotations

from typing import Any, ClassVar

import django.db.models.deletion
from django.conf import settings
from django.db import migrations, models


class Migration(migrations.Migration):  # type: ignore[misc]  # Django has no types
    """As ``manage.py makemigrations`` wrote it."""

    initial = True

    dependencies: ClassVar[Any] = [
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations: ClassVar[Any] = [
        migrations.CreateModel(
            name="Article",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("title", models.CharField(max_length=200)),
                ("section", models.SlugField()),
                ("text", models.TextField(blank=True)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("ordered", "Ordered"),
                            ("approved", "Approved"),
                            ("published", "Published"),
                            ("declined", "Declined"),
                        ],
                        default="ordered",
                        max_length=20,
                    ),
                ),
                ("decided_by", models.CharField(blank=True, max_length=150)),
                ("remark", models.TextField(blank=True)),
                (
                    "ordered_by",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.PROTECT, to=settings.AUTH_USER_MODEL
                    ),
                ),
            ],
            options={
                "permissions": [("decide_article", "Can approve and decline articles")],
            },
        ),
    ]
