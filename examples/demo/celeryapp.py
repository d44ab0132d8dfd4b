"""The shop's Celery app.

The jobs' table is the default: a SQLite file ``celery-external.db`` in the working directory.
"""

from __future__ import annotations

from celery import Celery

# The demo starts a Valkey of its own and names it in CELERY_BROKER_URL and CELERY_RESULT_BACKEND,
# which Celery prefers to what stands here.
app = Celery(
    "shop",
    broker="redis://localhost",
    backend="redis://localhost",
    include=["examples.demo.tasks"],
)
app.conf.external_sweep_interval = 1  # the default, 10 seconds, would make the demo's deadline late
