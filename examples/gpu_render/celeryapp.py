"""The Celery app. The broker is in CELERY_BROKER_URL and CELERY_RESULT_BACKEND."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("gpu_render", include=["examples.gpu_render.tasks"])
app.conf.external_database_url = os.environ.get("DATABASE_URL", "sqlite:///gpu_render.db")
# Where the provider reaches web.py.
app.conf.external_base_url = os.environ.get("EXTERNAL_BASE_URL", "http://localhost:8000/external")
app.conf.external_sweep_interval = 1  # the default is 10 seconds
