"""The shop's pages, the admin's, and another admin's, whose pages of jobs are the shop's own."""

from __future__ import annotations

from typing import Any, NoReturn

from django.contrib import admin
from django.urls import path

from celery_external.contrib.django.admin import JobAdmin
from celery_external.contrib.django.models import Job
from tests.django.project import urls


class OwnJobAdmin(JobAdmin):
    """Shows more to filter by, and cannot write its log."""

    list_filter = (*JobAdmin.list_filter, "completed_by")

    def log_change(self, *_given: Any) -> NoReturn:
        """Fail, where the decision has been written already."""
        raise ConnectionError("no log")


own_site = admin.AdminSite("own")
own_site.register(Job, OwnJobAdmin)
urlpatterns = [
    *urls.urlpatterns,
    path("admin/", admin.site.urls),
    path("own/", own_site.urls),
]
