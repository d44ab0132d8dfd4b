"""A Django project that has the page's URLs: its settings, its own URLs, and its WSGI app."""

from __future__ import annotations

import importlib
import os
from typing import Any

from django.contrib.auth import get_user_model, login
from django.core.wsgi import get_wsgi_application
from django.http import HttpResponse
from django.urls import path

os.environ.setdefault("DJANGO_SETTINGS_MODULE", __name__)

SECRET_KEY = "not a secret"  # noqa: S105 - the tests'
ROOT_URLCONF = __name__
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["USERS"],
        "ATOMIC_REQUESTS": True,
    }
}
INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"


def log_in(request: Any, name: str) -> HttpResponse:
    """Log somebody in: everybody is staff, and only one may decide."""
    rights = {"is_staff": name != "eve", "is_superuser": name == "ada"}
    user, _ = get_user_model().objects.get_or_create(username=name, defaults=rights)
    login(request, user)
    return HttpResponse(name)


wsgi = get_wsgi_application()
urlpatterns = [
    *importlib.import_module("django_urls").urlpatterns,
    path("login/<str:name>", log_in),
]
