"""Django: the webhook receiver's URLs, as ``admin.site.urls`` are the admin's."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.urls import path

from celery_external.webhooks import Receiver

from .views import job_view, logged_in_user, provider_view

__all__ = ["receiver_urls"]


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
