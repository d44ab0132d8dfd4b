"""How the tests' apps are made: where they work is said in the environment."""

from __future__ import annotations

import json
import os
from typing import Any

from celery import Celery


def make_app(name: str, **conf: Any) -> Celery:
    """An app on ``BROKER_URL``, ``RESULT_URL`` and ``DATABASE_URL``.

    ``CONF`` is more settings as JSON; they go before ``conf``.
    """
    app = Celery(name, broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
    app.conf.external_database_url = os.environ["DATABASE_URL"]
    app.conf.broker_connection_retry_on_startup = True
    app.conf.update({**conf, **json.loads(os.environ.get("CONF", "{}"))})
    return app
