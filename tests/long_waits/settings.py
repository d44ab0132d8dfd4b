"""Django's settings for the processes that keep their results with django-celery-results."""

import json
import os

SECRET_KEY = "no secret"  # noqa: S105 - nothing is signed with it
INSTALLED_APPS = ["django_celery_results"]
DATABASES = {"default": json.loads(os.environ["RESULTS_DATABASE"])}
USE_TZ = True
