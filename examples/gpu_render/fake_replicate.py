"""Stands for the provider: its API's shape, its signatures, and a GPU that fails now and then.

For the show and the tests; nothing of it goes into a product.
"""

from __future__ import annotations

import os
import threading
import time
from typing import Any
from uuid import uuid4

import httpx
from flask import Flask, abort, request
from flask.typing import ResponseReturnValue

from celery_external.testing import FakeProvider

#: The first prediction of a prompt with this word in it fails.
UNLUCKY = "unlucky"
PICTURE = '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 9 9"><circle r="9"/></svg>'


class FakeReplicate:
    """The provider's memory.

    A GPU begins when it has booted, and works for so many ``seconds``; None: until it is told to
    end.
    """

    def __init__(self, seconds: float | None) -> None:
        self.url = ""
        self.predictions: dict[str, dict[str, Any]] = {}
        self.has_booted = threading.Event()
        self._seconds = seconds

    def create(self, order: dict[str, Any]) -> dict[str, Any]:
        """Start a prediction."""
        number = uuid4().hex
        self.predictions[number] = prediction = {
            **order,
            "id": number,
            "status": "starting",
            "output": None,
            "error": None,
            "urls": {"get": f"{self.url}v1/predictions/{number}"},
        }
        if self._seconds is not None:
            threading.Thread(target=self._work, args=(number, self._seconds)).start()
        return dict(prediction)

    def get(self, number: str) -> dict[str, Any]:
        """A prediction as it now is; it is at work when it is first asked for."""
        prediction = self.predictions[number]
        if prediction["status"] == "starting":
            prediction["status"] = "processing"
        return prediction

    def finish(self, number: str) -> dict[str, Any]:
        """End a prediction, and tell whoever wanted to be told."""
        prediction = self.predictions[number]
        first = next(one for one in self.predictions.values() if _is_same(one, prediction))
        if UNLUCKY in prediction["input"]["prompt"] and prediction is first:
            prediction |= {"status": "failed", "error": "CUDA out of memory"}
        else:
            prediction |= {"status": "succeeded", "output": [f"{self.url}files/{number}.svg"]}
        if webhook := prediction.get("webhook"):
            provider = FakeProvider.standard_webhooks(os.environ["REPLICATE_WEBHOOK_SECRET"])
            headers, body = provider.sign(prediction)
            httpx.post(webhook, headers=headers, content=body).raise_for_status()
        return prediction

    def _work(self, number: str, seconds: float) -> None:
        self.has_booted.wait()
        time.sleep(seconds)
        self.finish(number)


def _is_same(one: dict[str, Any], other: dict[str, Any]) -> bool:
    return all(one.get(name) == other.get(name) for name in ("input", "webhook"))


def create_app(fake: FakeReplicate | None = None) -> Flask:
    """The provider's API."""
    fake = fake or FakeReplicate(seconds=1)
    web = Flask(__name__)

    @web.before_request
    def check_token() -> None:
        fake.url = request.host_url
        is_file = request.path.startswith("/files/")
        token = f"Bearer {os.environ['REPLICATE_API_TOKEN']}"
        if not is_file and request.headers.get("Authorization") != token:
            abort(401)

    @web.post("/v1/predictions")
    def create() -> ResponseReturnValue:
        return fake.create(request.get_json()), 201

    @web.get("/v1/predictions/<number>")
    def get(number: str) -> ResponseReturnValue:
        return fake.get(number) if number in fake.predictions else abort(404)

    @web.post("/v1/boot")
    def boot() -> ResponseReturnValue:
        fake.has_booted.set()
        return "", 204

    @web.get("/files/<number>.svg")
    def file(number: str) -> ResponseReturnValue:
        return PICTURE.replace("circle", f'circle id="{number}"'), {"Content-Type": "image/svg+xml"}

    return web
