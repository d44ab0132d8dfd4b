"""The example flask_webhook: a service calls back, a person has a link, the staff have a list."""

from __future__ import annotations

import email
import email.policy
import re
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
from celery.result import AsyncResult
from flask import Flask, request
from flask.testing import FlaskClient

from celery_external.testing import Kit, in_memory
from examples.flask_webhook import tasks, web
from examples.flask_webhook.tasks import app
from tests.examples.running import run_example, serve
from tests.markup import Page

STAFF = ("staff", "open sesame")
ENDS = {"publish": "A mug: published", "throw away": "A mug: thrown away"}
BASE_URL = "https://shop.example/external"


@pytest.fixture
def orders(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[dict[str, str]]]:
    """What the drawing service was asked for."""
    asked: list[dict[str, str]] = []
    service = Flask("drawing")

    @service.post("/drawings")
    def draw() -> str:
        asked.append(request.get_json())
        return "drawing"

    with serve(service) as url:
        monkeypatch.setenv("DRAWING_URL", f"{url}/drawings")
        yield asked


@pytest.fixture
def kit(
    orders: list[dict[str, str]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Kit]:
    """The app in memory, with mails in the test's directory."""
    assert orders == []
    monkeypatch.setenv("REVIEWER", "alice@shop.example")
    monkeypatch.setenv("MAIL_DIRECTORY", str(tmp_path))
    keys = [secrets.token_urlsafe()]
    with in_memory(app, external_secret_keys=keys, external_base_url=BASE_URL) as kit:
        yield kit


@pytest.fixture
def client(kit: Kit, monkeypatch: pytest.MonkeyPatch) -> FlaskClient:
    """The web app."""
    assert kit.app is app
    monkeypatch.setenv("STAFF_PASSWORD", STAFF[1])
    return web.create_app().test_client()


def order(client: FlaskClient, kit: Kit) -> AsyncResult[str]:
    answer = client.post("/orders", json={"text": "A mug"}, auth=STAFF)
    assert answer.status_code == 202
    kit.drain()
    return AsyncResult(answer.get_json()["id"], app=app)


def draw(client: FlaskClient, kit: Kit, url: str) -> int:
    """The service calls back; returns the status of the answer."""
    answer = client.post(url.removeprefix("https://shop.example"), json="https://p.example/1.png")
    kit.drain()
    return answer.status_code


def link_in(directory: Path) -> str:
    """The link in the one mail there is, as the client takes it."""
    (path,) = directory.glob("*.eml")
    mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    assert mail["To"] == "alice@shop.example"
    found = re.search(rf"{BASE_URL}(/jobs/\S+)", mail.get_content())
    assert found is not None
    return f"/external{found[1]}"


@pytest.mark.parametrize("choice", ENDS)
def test_from_an_order_to_its_end(
    choice: str, kit: Kit, client: FlaskClient, orders: list[dict[str, str]], tmp_path: Path
) -> None:
    result = order(client, kit)
    (asked,) = orders
    assert asked["text"] == "A mug"
    assert kit.assert_parked(tasks.draw).labels == ()
    assert draw(client, kit, asked["callback_url"]) == 200
    job = kit.assert_parked(tasks.review, labels=["review"])
    link = link_in(tmp_path)
    page = Page(client.get(link).data)
    assert "https://p.example/1.png" in page.text
    assert kit.external.get_job(job).is_open
    answer = client.post(link, data={**page.fields, "by": "alice", "choice": choice})
    assert answer.status_code == 200
    kit.drain()
    assert result.get(timeout=1) == ENDS[choice]
    assert kit.external.get_job(job).completed_by == "alice"


def test_calls_that_do_not_count(
    kit: Kit, client: FlaskClient, orders: list[dict[str, str]], tmp_path: Path
) -> None:
    order(client, kit)
    url = orders[0]["callback_url"]
    assert draw(client, kit, f"{url}x") == 403
    assert draw(client, kit, url) == 200
    assert draw(client, kit, url) == 200
    link = link_in(tmp_path)
    fields = Page(client.get(link).data).fields
    for wrong, status in [
        ({"choice": "publish"}, 422),
        ({"by": "alice", "choice": "burn"}, 422),
        ({"by": "alice", "choice": "publish", "key": "x"}, 403),
    ]:
        assert client.post(link, data={**fields, **wrong}).status_code == status
    # Who draws may not publish.
    assert client.post(url, data={**fields, "by": "bob", "choice": "publish"}).status_code != 200
    kit.assert_parked(tasks.review)


def test_two_days_without_a_word(
    kit: Kit, client: FlaskClient, orders: list[dict[str, str]], tmp_path: Path
) -> None:
    result = order(client, kit)
    draw(client, kit, orders[0]["callback_url"])
    link = link_in(tmp_path)
    fields = Page(client.get(link).data).fields
    kit.shift(2 * 86400)
    assert not result.successful()
    assert client.post(link, data={**fields, "by": "a", "choice": "publish"}).status_code == 410


def test_the_list_is_for_the_staff(kit: Kit, client: FlaskClient) -> None:
    order(client, kit)
    job = kit.assert_parked()
    listed = client.get("/parked", auth=STAFF)
    assert listed.get_json() == [
        {"id": job.id, "task": tasks.draw.name, "labels": [], "meta": {"text": "A mug"}}
    ]
    for auth in (None, ("staff", ""), ("staff", "open")):
        for answer in (client.get("/parked", auth=auth), client.post("/orders", auth=auth)):
            assert (answer.status_code, answer.text) == (401, "Who are you?")


def test_no_password_opens_nothing(client: FlaskClient) -> None:
    client.application.config["STAFF_PASSWORD"] = ""
    assert client.get("/parked", auth=("staff", "")).status_code == 401


@pytest.mark.parametrize("body", [{}, {"text": 1}, [], "A mug"])
def test_orders_that_are_none(body: object, client: FlaskClient) -> None:
    assert client.post("/orders", json=body, auth=STAFF).status_code == 422


def test_a_mail_is_for_its_owner(
    kit: Kit, client: FlaskClient, orders: list[dict[str, str]], tmp_path: Path
) -> None:
    order(client, kit)
    draw(client, kit, orders[0]["callback_url"])
    (path,) = tmp_path.glob("*.eml")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_run() -> None:
    assert run_example("flask_webhook") == [
        "ordered: a mug",
        "the drawing service has called back, and alice has a mail",
        "parked: ['review'] {'picture': 'https://pictures.example/1.png', 'text': 'A mug'}",
        "the list without a password: 401",
        "with a token that is none: 403",
        "alice publishes it; thinking twice: 409",
        "A mug: published",
    ]
