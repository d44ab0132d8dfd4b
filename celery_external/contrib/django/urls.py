"""Django: the URLs of the webhook receiver, and of the dashboard, as the admin has its own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import path

from celery_external.dashboard import Dashboard
from celery_external.webhooks import Receiver

from .views import dashboard_view, job_view, logged_in_user, provider_view

__all__ = ["dashboard_urls", "receiver_urls"]


def receiver_urls(
    receiver: Receiver, *, user: Callable[[Any], str | None] = logged_in_user
) -> tuple[list[Any], str, str]:
    """What ``path("external/", ...)`` takes: ``jobs/<token>`` and ``providers/<name>``.

    Arguments:
        receiver: Answers.
        user: Says of a request who is logged in, for the history; None: nobody. Default: the
            ``get_username()`` of ``request.user``. If it raises, the answer is 503.
    """
    patterns = [
        path("jobs/<str:token>", job_view(receiver, user), name="job"),
        path("providers/<str:name>", provider_view(receiver), name="provider"),
    ]
    return patterns, "celery_external", "celery_external"


def dashboard_urls(dashboard: Dashboard) -> tuple[list[Any], str, str]:
    """What ``path("dashboard/", ...)`` takes.

    Arguments:
        dashboard: What is served. Its ``authorize`` is given the request; it may return a
            response, such as a redirect to the login, or raise PermissionDenied.
    """
    view = dashboard_view(dashboard)
    patterns = [path("", view, name="overview"), path("<path:path>", view, name="page")]
    return patterns, "celery_external_dashboard", "celery_external_dashboard"
