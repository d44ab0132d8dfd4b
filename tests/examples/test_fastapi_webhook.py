"""The FastAPI example: its web app by the test kit, and a real run."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from threading import Thread
from typing import Any

import httpx
import pytest
import uvicorn
from flask import Flask, request

from celery_external import testing
from celery_external.testing import Kit
from examples.fastapi_webhook.tasks import app, review, translate
from examples.fastapi_webhook.web import web
from tests.examples.running import run_example, serve

ORDERS = "/translations"


def translator(orders: list[Any]) -> Flask:
    """A translation service that takes orders and never calls back."""
    made = Flask(__name__)

    @made.post("/orders")
    def order() -> tuple[dict[str, str], int]:
        orders.append(request.get_json())
        return {"state": "queued"}, 202

    return made


@contextmanager
def served() -> Iterator[str]:
    """The web app at an address, in this process, where the kit's messages are."""
    server = uvicorn.Server(uvicorn.Config(web, log_config=None, access_log=False))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join()


class Scene:
    """The web app, its users, and the service that does what the test says."""

    def __init__(self, kit: Kit, address: str, orders: list[Any], stack: ExitStack) -> None:
        self.kit = kit
        self.orders = orders
        self._address = address
        self._stack = stack
        self.nobody = self.client()
        self.alice = self.client("of-alice")
        self.bob = self.client("of-bob")

    def client(self, key: str | None = None) -> httpx.Client:
        """Whoever has this API key, or none."""
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        return self._stack.enter_context(httpx.Client(base_url=self._address, headers=headers))

    def order(self, text: str = "Hello") -> dict[str, str]:
        """Alice orders; the service has been asked."""
        answer = self.alice.post(ORDERS, json={"text": text})
        assert answer.status_code == 202, answer.text
        self.kit.drain()
        made: dict[str, str] = answer.json()
        return made

    def call_back(self, **body: Any) -> Any:
        """The service says something of its last order."""
        answer = self.nobody.post(self.orders[-1]["callback_url"], json=body)
        self.kit.drain()
        return answer.json()

    def review(self) -> dict[str, str]:
        """The one review in bob's list."""
        (found,) = self.bob.get("/reviews").json()
        assert isinstance(found, dict)
        return found


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Iterator[Scene]:
    with ExitStack() as stack:
        orders: list[Any] = []
        service = stack.enter_context(serve(translator(orders)))
        address = stack.enter_context(served())
        monkeypatch.setenv("TRANSLATOR_URL", f"{service}/orders")
        monkeypatch.setenv("API_KEYS", "alice:of-alice bob:of-bob")
        settings: dict[str, Any] = {
            "external_secret_keys": ["a secret of more than 32 characters"],
            "external_base_url": f"{address}/external",
        }
        kit = stack.enter_context(testing.in_memory(app, **settings))
        yield Scene(kit, address, orders, stack)


def test_from_the_order_to_the_delivery(scene: Scene) -> None:
    made = scene.order()
    assert scene.orders[0]["text"] == "Hello"
    assert scene.kit.assert_parked(translate).id == made["id"]
    assert scene.call_back(state="working", percent=50) == {"status": "applied"}
    progress = scene.kit.assert_parked(translate).progress
    assert progress is not None
    assert (progress.current, progress.total) == (50, 100)
    assert scene.call_back(state="asleep") == {"status": "ignored"}
    assert scene.call_back(state="done", text="Hallo") == {"status": "applied"}

    found = scene.review()
    assert (found["text"], found["translation"]) == ("Hello", "Hallo")
    job = scene.kit.assert_parked(review)
    said = scene.bob.post(found["decide_url"], json={"choice": "deliver"})
    assert said.json() == {"status": "applied"}
    scene.kit.drain()
    assert scene.kit.external.get_job(job).completed_by == "bob"
    assert app.AsyncResult(made["result_id"]).get(timeout=1) == "Hello: delivered"
    assert scene.bob.get("/reviews").json() == []


def test_the_list(scene: Scene) -> None:
    for text in ("One", "Two", "Three"):
        scene.order(text)
        if text != "Three":
            scene.call_back(state="done", text=f"{text} in German")
    shown = [(found["text"], found["translation"]) for found in scene.bob.get("/reviews").json()]
    assert shown == [("Two", "Two in German"), ("One", "One in German")]


def test_the_service_fails(scene: Scene) -> None:
    made = scene.order()
    assert scene.call_back(state="failed", why="no language") == {"status": "applied"}
    job = scene.kit.external.get_job(made["id"])
    assert (job.state, job.reason) == ("FAILURE", "no language")
    scene.kit.assert_not_parked()


def test_the_status_page(scene: Scene) -> None:
    url = scene.order()["status_url"]
    assert "Hello" in scene.nobody.get(url).text
    assert scene.nobody.post(url, json={"state": "done", "text": "x"}).status_code == 403
    scene.call_back(state="done", text="Hallo")
    assert re.search("This is over: succeeded by callback", scene.nobody.get(url).text)


def test_who_decides_is_whose_key_it_is(scene: Scene) -> None:
    scene.order()
    scene.call_back(state="done", text="Hallo")
    url, said = scene.review()["decide_url"], {"choice": "throw away"}
    without = scene.nobody.post(url, json=said)
    assert (without.status_code, without.json()["fields"]) == (422, {"by": "is required"})
    assert scene.client("of-mallory").post(url, json=said).status_code == 401
    # Whatever somebody says who is known to be somebody else.
    assert scene.alice.post(url, json={**said, "by": "bob"}).status_code == 200
    (job,) = scene.kit.external.find_jobs(task=review.name)
    assert job.completed_by == "alice"
    assert scene.bob.post(url, json={"choice": "deliver"}).status_code == 409


@pytest.mark.parametrize("key", [None, "of-mallory", "of-alic"])
def test_nobody_else_orders_or_sees(scene: Scene, key: str | None) -> None:
    client = scene.client(key)
    for answer in (client.post(ORDERS, json={"text": "Hello"}), client.get("/reviews")):
        assert (answer.status_code, answer.headers["WWW-Authenticate"]) == (401, "Bearer")
    assert [client.get(path).status_code for path in ("/docs", "/openapi.json")] == [404] * 2
    assert not scene.kit.external.find_jobs(order="created")


def test_an_order_has_a_text_and_not_too_much_of_it(scene: Scene) -> None:
    for text in ("", "x" * 10_001):
        assert scene.alice.post(ORDERS, json={"text": text}).status_code == 422


def test_a_real_run() -> None:
    assert run_example("fastapi_webhook") == [
        "ordered without a key: 401",
        "ordered by alice: Hello",
        "the service has called back: Hello is olleH",
        "the status page: succeeded by callback",
        "something said by the link to look: 403",
        "decided by nobody: 422 {'by': 'is required'}",
        "decided by bob; alice thinks otherwise: 409",
        "Hello: delivered",
        "Covfefe: failed by callback",
    ]
