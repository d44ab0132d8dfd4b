"""The Celery app. The broker is in CELERY_BROKER_URL and CELERY_RESULT_BACKEND."""

from __future__ import annotations

import os

from celery import Celery

app = Celery("payment", include=["examples.payment.tasks"])
app.conf.external_database_url = os.environ.get("DATABASE_URL", "sqlite:///payment.db")
app.conf.external_sweep_interval = 1  # the default is 10 seconds
