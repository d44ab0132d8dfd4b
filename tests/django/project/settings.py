"""The project's settings; what a test wants to differ is in the environment."""

from __future__ import annotations

import json
import os
from typing import Any

from sqlalchemy import make_url

_conf: dict[str, Any] = json.loads(os.environ.get("CONF", "{}"))


def _database(url: str) -> dict[str, Any]:
    parsed = make_url(url)
    if parsed.get_backend_name() == "sqlite":
        return {
            "ENGINE": "django.db.backends.sqlite3",
            "NAME": parsed.database,
            # A file, which other processes and threads see.
            "TEST": {"NAME": f"{parsed.database}.test"},
            "OPTIONS": {"transaction_mode": "IMMEDIATE", "init_command": "PRAGMA journal_mode=WAL"},
        }
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": parsed.database,
        "HOST": parsed.host,
        "PORT": parsed.port,
        "USER": parsed.username,
    }


SECRET_KEY = "not a secret"  # noqa: S105
INSTALLED_APPS = ["celery_external.contrib.django", "tests.django.project.shop"]
ROOT_URLCONF = "tests.django.project.urls"
ALLOWED_HOSTS = ["*"]
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {
    "default": {
        **_database(os.environ["DATABASE_URL"]),
        "ATOMIC_REQUESTS": True,
        **_conf.pop("DATABASE", {}),
    },
}
if "OTHER_DATABASE_URL" in os.environ:
    DATABASES["other"] = _database(os.environ["OTHER_DATABASE_URL"])
CELERY_BROKER_URL = os.environ["BROKER_URL"]
CELERY_RESULT_BACKEND = os.environ["RESULT_URL"]
CELERY_EXTERNAL_SWEEP_INTERVAL = 0.2

globals().update(_conf)
