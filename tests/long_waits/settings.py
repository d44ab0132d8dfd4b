"""Django's settings for the processes that keep their results with django-celery-results."""

import os

SECRET_KEY = "no secret"  # noqa: S105 - nothing is signed with it
INSTALLED_APPS = ["django_celery_results"]
DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": os.environ["RESULTS_FILE"],
        "OPTIONS": {"timeout": 30, "transaction_mode": "IMMEDIATE"},
    }
}
USE_TZ = True
