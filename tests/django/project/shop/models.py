"""The user's own table."""

from __future__ import annotations

from django.db import models


class Order(models.Model):  # type: ignore[misc]  # Django has no types
    """An order, and the job that waits for its approval."""

    name = models.TextField(unique=True)
    job_id = models.TextField(default="")

    def __str__(self) -> str:
        return str(self.name)
