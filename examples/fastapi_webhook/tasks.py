"""The Celery app, and the chain: a translation from outside, a person's word, the delivery.

The broker is in CELERY_BROKER_URL and CELERY_RESULT_BACKEND.
"""

from __future__ import annotations

import os
from typing import Any

import httpx
from celery import Celery, chain

from celery_external import ExternalTask, current_job

app = Celery("fastapi_webhook")
app.conf.external_database_url = os.environ.get("DATABASE_URL", "sqlite:///fastapi_webhook.db")
# What signs the links, newest first. Without one, asking for a link says how to make it.
app.conf.external_secret_keys = os.environ.get("EXTERNAL_SECRET_KEYS", "").split()
# Where web.py is for the outside world.
app.conf.external_base_url = os.environ.get("EXTERNAL_BASE_URL", "http://localhost:8000/external")


@app.task(base=ExternalTask, timeout=3600)
def translate(text: str) -> None:
    """Have a service translate. It calls back, and web.py says what its calls mean."""
    current_job.meta["text"] = text
    order = {"text": text, "callback_url": current_job.callback_url("decide")}
    httpx.post(os.environ["TRANSLATOR_URL"], json=order, timeout=10).raise_for_status()


@app.task(
    base=ExternalTask, labels=("review",), timeout=2 * 86400, choices=("deliver", "throw away")
)
def review(translation: str, text: str) -> None:
    """Ask a person. Nobody is told: web.py lists what waits."""
    current_job.meta["text"] = text
    current_job.meta["translation"] = translation


@app.task
def deliver(answer: dict[str, str], text: str) -> str:
    """What follows, as any task."""
    return f"{text}: {'delivered' if answer['choice'] == 'deliver' else 'thrown away'}"


def order(text: str) -> tuple[str, str]:
    """Start it all; returns the id of the translation's job, and of what the chain returns."""
    result: Any = chain(translate.s(text), review.s(text), deliver.s(text)).apply_async()
    return result.parent.parent.id, result.id  # Celery's rule: a chain's result is its last step's
