"""The receiver whose database goes away."""

from __future__ import annotations

import os

from celery import Celery

from celery_external.webhooks import Receiver


def make_receiver(database_url: str) -> Receiver:
    """A receiver beside the one of the docs' page."""
    app = Celery("away", broker="memory://", set_as_current=False)
    app.conf.update(
        external_database_url=database_url, external_secret_keys=[os.environ["SHOP_SECRET"]]
    )
    return Receiver(app)
