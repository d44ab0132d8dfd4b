"""Somebody else's render service: it takes an order, works on it, and calls a webhook.

It knows nothing of Celery. Run it with ``python -m examples.demo.render_service``.
"""

from __future__ import annotations

import logging
import threading
import time
import uuid
from http import HTTPStatus
from typing import Any
from urllib.error import HTTPError, URLError

from . import httpjson
from .picture import draw
from .products import Product

log = logging.getLogger(__name__)

#: Products whose first order goes wrong, as orders do.
to_fail_once = {"copper-kettle"}


class RenderApi(httpjson.Handler):
    """``POST /renders`` with a product and a webhook."""

    def get(self, path: list[str]) -> httpjson.Reply:
        return super().get(path) if path else httpjson.json_reply({"status": "up"})

    def post(self, path: list[str], fields: dict[str, Any]) -> httpjson.Reply:
        if path != ["renders"]:
            return httpjson.problem(HTTPStatus.NOT_FOUND, "POST /renders is all there is")
        render_id = f"render-{uuid.uuid4().hex[:12]}"
        work = threading.Thread(target=_work, args=(fields["product"], fields["webhook"]))
        work.daemon = True
        work.start()
        return httpjson.json_reply({"id": render_id}, HTTPStatus.ACCEPTED)


def _work(product: Product, webhook: str) -> None:
    time.sleep(1 + len(product["description"]) % 3)  # the work
    if product["slug"] in to_fail_once:
        to_fail_once.remove(product["slug"])
        _report(webhook, {"status": "failed", "error": "out of GPU memory"})
    else:
        _report(webhook, {"status": "succeeded", "svg": draw(product)})


def _report(webhook: str, outcome: dict[str, str]) -> None:
    for pause in (0.5, 1, 2, 4):
        try:
            answer = httpjson.post(webhook, outcome)
        except HTTPError as error:
            log.warning("webhook refused: %s %s", error.code, error.read().decode())
            if error.code < HTTPStatus.INTERNAL_SERVER_ERROR:
                return
        except URLError as error:
            log.warning("webhook not reached: %s", error)
        else:
            log.info("webhook answered %s", answer)
            return
        time.sleep(pause)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    httpjson.serve(RenderApi)
