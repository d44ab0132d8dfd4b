"""The settings of the tests' project, with logins, ATOMIC_REQUESTS, and the page's app ``shop``."""

from __future__ import annotations

import os

from tests.django.project.settings import *  # noqa: F403 - as settings are extended
from tests.django.project.settings import DATABASES

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "celery_external.contrib.django",
    "shop",
]
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
SESSION_ENGINE = "django.contrib.sessions.backends.signed_cookies"
ROOT_URLCONF = "tests.adapters.hosts.django_urls"
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {"all": {"class": "logging.StreamHandler"}},
    "loggers": {"django": {"handlers": ["all"], "level": "INFO", "propagate": False}},
}
DATABASES["other"]["ATOMIC_REQUESTS"] = True
CELERY_EXTERNAL_SECRET_KEYS = [os.environ["SHOP_SECRET"]]
CELERY_EXTERNAL_BASE_URL = "https://shop.example/external"
