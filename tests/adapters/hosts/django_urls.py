"""The URLs of docs/django.md, and the host's own."""

from __future__ import annotations

import importlib
from typing import Any

from django.contrib.auth import get_user_model, login
from django.http import HttpResponse
from django.urls import path

from celery_external.contrib.django.urls import receiver_urls
from tests.adapters.hosts.away import make_receiver


def log_in(request: Any, name: str) -> HttpResponse:
    """Log somebody in."""
    user, _ = get_user_model().objects.get_or_create(username=name)
    login(request, user)
    return HttpResponse(name)


def guarded(_request: Any) -> HttpResponse:
    """A view of the host's own, which Django guards."""
    return HttpResponse("done")


def cannot_say(_request: Any) -> str | None:
    """Fail to say who is logged in, and not for want of Django's own database."""
    raise ConnectionError("the directory is away")


urlpatterns = [
    *importlib.import_module("proj.urls").urlpatterns,
    path("away/", receiver_urls(make_receiver("django://other"))),
    path("unknown/", receiver_urls(make_receiver("django://other"), user=cannot_say)),
    path("login/<str:name>", log_in),
    path("guarded", guarded),
]
