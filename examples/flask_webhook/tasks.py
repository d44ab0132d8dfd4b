"""The Celery app, and the chain: a picture from outside, a person's word, a page.

The broker is in CELERY_BROKER_URL and CELERY_RESULT_BACKEND.
"""

from __future__ import annotations

import os
from typing import Any

import httpx
from celery import Celery, chain
from celery.result import AsyncResult

from celery_external import ExternalTask, current_job

from .mail import send_mail

app = Celery("flask_webhook")
app.conf.external_database_url = os.environ.get("DATABASE_URL", "sqlite:///flask_webhook.db")
# What signs the links, newest first. Without one, asking for a link says how to make it.
app.conf.external_secret_keys = os.environ.get("EXTERNAL_SECRET_KEYS", "").split()
# Where web.py is for the outside world.
app.conf.external_base_url = os.environ.get("EXTERNAL_BASE_URL", "http://localhost:8000/external")


@app.task(base=ExternalTask, timeout=3600)
def draw(text: str) -> None:
    """Order a picture. The service gives the result, its URL, to the callback URL."""
    current_job.meta["text"] = text
    job = {"text": text, "callback_url": current_job.callback_url("succeed")}
    httpx.post(os.environ["DRAWING_URL"], json=job, timeout=10).raise_for_status()


@app.task(
    base=ExternalTask, labels=("review",), timeout=2 * 86400, choices=("publish", "throw away")
)
def review(picture: str, text: str) -> None:
    """Ask a person. The link opens a page with a button for each choice."""
    current_job.meta["text"] = text
    current_job.meta["picture"] = picture
    send_mail(
        to=os.environ["REVIEWER"],
        subject=f"Please review: {text}",
        text=f"{picture}\n\nYour word, please: {current_job.callback_url('decide')}\n",
    )


@app.task
def publish(answer: dict[str, str], text: str) -> str:
    """What follows, as any task."""
    return f"{text}: published" if answer["choice"] == "publish" else f"{text}: thrown away"


def order(text: str) -> AsyncResult[Any]:
    """Start it all."""
    return chain(draw.s(text), review.s(text), publish.s(text)).apply_async()
