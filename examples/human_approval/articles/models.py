"""What the newsroom keeps: articles. A draft that waits is no row of its own, but a parked job."""

from __future__ import annotations

from typing import Any, ClassVar

from django.conf import settings
from django.db import models


class Article(models.Model):  # type: ignore[misc]  # Django has no types
    """An article that somebody has ordered. Its text is empty until it is approved."""

    class Status(models.TextChoices):  # type: ignore[misc]
        """How far it has come."""

        ORDERED = "ordered"
        APPROVED = "approved"
        PUBLISHED = "published"
        DECLINED = "declined"

    title = models.CharField(max_length=200)
    section = models.SlugField()
    text = models.TextField(blank=True)
    status = models.CharField(max_length=20, choices=Status.choices, default=Status.ORDERED)
    ordered_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT)
    decided_by = models.CharField(max_length=150, blank=True)
    remark = models.TextField(blank=True)

    class Meta:
        """Who may decide is a permission of its own."""

        permissions: ClassVar[Any] = [("decide_article", "Can approve and decline articles")]

    def __str__(self) -> str:
        return str(self.title)

    def decide(self, decision: dict[str, str], content: str, by: str) -> None:
        """Write down what was decided about the draft, and save."""
        if decision["choice"] == "approve":
            self.status, self.text = self.Status.APPROVED, content
        else:
            self.status = self.Status.DECLINED
        self.decided_by, self.remark = by, decision["remark"]
        self.save()
