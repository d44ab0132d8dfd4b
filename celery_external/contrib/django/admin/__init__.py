"""The admin's pages of jobs, registered where ``django.contrib.admin`` looks for them.

To have other pages: ``admin.site.unregister(Job)``, and register a subclass of :class:`JobAdmin`.
"""

from __future__ import annotations

from django.contrib import admin

from celery_external.contrib.django.models import Job

from .job import JobAdmin

__all__ = ["JobAdmin"]

admin.site.register(Job, JobAdmin)
