"""A Celery app of ordinary tasks; ``BROKER_URL`` and ``RESULT_URL`` say where it works."""

from __future__ import annotations

import os
import time

from celery import Celery

app = Celery("plain", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.broker_connection_retry_on_startup = True


@app.task
def add(left: int, right: int) -> int:
    """Add two numbers."""
    return left + right


@app.task
def block(seconds: float) -> None:
    """Keep a pool process busy."""
    time.sleep(seconds)
