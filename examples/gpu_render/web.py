"""The web app: where the provider's webhooks come in."""

from __future__ import annotations

import os

from flask import Flask

from celery_external.contrib.flask import CeleryExternal
from celery_external.webhooks import Provider, Receiver, StandardWebhooks

from .celeryapp import app
from .replicate import read_prediction
from .tasks import render_told


def create_app() -> Flask:
    """Answers at /external/providers/replicate, to whom knows REPLICATE_WEBHOOK_SECRET."""
    receiver = Receiver(
        app,
        providers={
            "replicate": Provider(
                task=render_told,
                scheme=StandardWebhooks(os.environ["REPLICATE_WEBHOOK_SECRET"]),
                reference=lambda prediction: prediction["id"],
                mapping=read_prediction,
            ),
        },
    )
    web = Flask(__name__)
    CeleryExternal(web, receiver)
    return web
