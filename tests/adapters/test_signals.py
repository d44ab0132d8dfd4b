"""What is said over HTTP in each framework counts, and a link says nothing."""

from __future__ import annotations

import json
import sqlite3
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import httpx
import pytest
from celery import chain

from celery_external.tokens import ACTIONS
from tests.adapters.documents import files_of
from tests.adapters.site import Site

CALLERS = 20


# --- Tokens ---------------------------------------------------------------------------------------


def test_a_chain_goes_on_where_a_token_says_so(site: Site) -> None:
    shop = site.shop
    result: Any = chain(shop.render.s(uuid4().hex), shop.publish.s()).apply_async()
    job_id = result.parent.id
    shop.wait_state(job_id, "PARKED")
    response = site.post(shop.token(job_id), "a video")
    assert (response.status_code, response.json()) == (200, {"status": "applied"})
    assert response.headers["content-type"] == "application/json"
    assert result.get(timeout=20) == "published a video"
    assert shop.get(job_id).completed_by == "callback"


def test_a_token_to_fail(site: Site) -> None:
    job_id = site.shop.started()
    assert site.post(site.shop.token(job_id, "fail"), {"reason": "dark"}).status_code == 200
    job = site.shop.wait_state(job_id, "FAILURE")
    assert (job.reason, job.completed_by) == ("dark", "callback")


def test_a_decision_in_json_names_who_decided(site: Site) -> None:
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    nobody = site.post(token, {"choice": "approve"})
    assert (nobody.status_code, nobody.json()["fields"]) == (422, {"by": "is required"})
    assert site.post(token, {"choice": "approve", "by": "al"}).status_code == 200
    job = site.shop.get(job_id)
    assert (job.result, job.completed_by) == ({"choice": "approve"}, "al")


def test_the_link_of_the_trigger_is_one_of_these(site: Site) -> None:
    job_id = site.shop.started(site.shop.approve, "a text")
    base, _, token = site.shop.get(job_id).meta["link"].rpartition("/")
    assert base == "https://shop.example/external/jobs"
    assert site.page(token).buttons.keys() == {("choice", "approve"), ("choice", "decline")}


# --- People ---------------------------------------------------------------------------------------


def test_a_person_decides_on_the_page_and_says_who_they_are(site: Site) -> None:
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    page = site.page(token)
    page.check_harmless()
    assert page.fields.keys() == {"key", "by"}
    assert "a text" in page.text
    typed = {**page.fields, "choice": "decline"}
    assert site.send(token, typed).status_code == 422
    answer = site.send(token, {**typed, "by": "Ada L."})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "text/html; charset=utf-8")
    job = site.shop.get(job_id)
    assert (job.result, job.completed_by) == ({"choice": "decline"}, "Ada L.")


def test_who_is_logged_in_is_not_asked_for_a_name(site: Site) -> None:
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    with site.browser("ada") as browser:
        page = site.page(token, browser)
        assert page.fields.keys() == {"key"}
        answer = site.send(token, {**page.fields, "choice": "approve", "by": "eve"}, browser)
        assert answer.status_code == 200
    assert site.shop.get(job_id).completed_by == "ada"


def test_who_is_logged_in_decides_in_json_as_well(site: Site) -> None:
    job_id = site.shop.started(site.shop.approve, "a text")
    with site.browser("ada") as browser:
        url = site.url(site.shop.token(job_id, "decide"))
        assert browser.post(url, json={"choice": "approve", "by": "eve"}).status_code == 200
    assert site.shop.get(job_id).completed_by == "ada"


def test_to_look_changes_nothing(site: Site) -> None:
    job_id = site.shop.started()
    before = site.shop.get(job_id)
    for action in ACTIONS:
        url = site.url(site.shop.token(job_id, action))
        shown, head = site.http.get(url), site.http.head(url)
        assert (shown.status_code, head.status_code, head.content) == (200, 200, b"")
        assert "frame-ancestors 'none'" in head.headers["content-security-policy"]
        for name in ("content-type", "referrer-policy", "cache-control", "x-content-type-options"):
            assert head.headers[name] == shown.headers[name]
    assert site.shop.get(job_id) == before


# --- Providers ------------------------------------------------------------------------------------


def test_a_provider_tells_of_its_own_id(site: Site) -> None:
    prompt = uuid4().hex
    job_id = site.shop.started(site.shop.render, prompt)
    said = json.dumps({"id": f"video-{prompt}", "status": "succeeded", "output": "é"}).encode()
    assert site.provide(said).json() == {"status": "applied"}
    assert site.provide(said).json() == {"status": "duplicate"}
    job = site.shop.wait_state(job_id, "SUCCESS")
    assert (job.result, job.completed_by) == ("é", "videos")


def test_a_provider_that_is_faster_than_the_trigger(site: Site) -> None:
    prompt = uuid4().hex
    said = json.dumps({"id": f"video-{prompt}", "status": "failed", "error": "dark"}).encode()
    assert site.provide(said).json() == {"status": "kept"}
    job_id = site.shop.render.delay(prompt).id
    job = site.shop.wait_state(job_id, "FAILURE")
    assert (job.reason, job.completed_by) == ("dark", "videos")


@pytest.mark.parametrize("status", ["processing", "succeeded"])
def test_what_a_provider_is_answered_that_does_not_count(site: Site, status: str) -> None:
    prompt = uuid4().hex
    job_id = site.shop.started(site.shop.render, prompt)
    site.shop.external.signal_failed(job_id, "no")
    said = json.dumps({"id": f"video-{prompt}", "status": status, "output": 1}).encode()
    answer = site.provide(said)
    wanted = "refused" if status == "succeeded" else "ignored"
    assert (answer.status_code, answer.json()) == (200, {"status": wanted})


def test_the_body_is_verified_as_it_was_received(site: Site) -> None:
    prompt = uuid4().hex
    job_id = site.shop.started(site.shop.render, prompt)
    said = f' {{"output" :1.50,\n"status":"succeeded", "id":  "video-{prompt}"}}\n'.encode()
    assert site.provide(said).json() == {"status": "applied"}
    assert site.shop.get(job_id).result == 1.5


# --- At once --------------------------------------------------------------------------------------


def test_one_of_twenty_callers_is_applied(site: Site) -> None:
    shop = site.shop
    result: Any = chain(shop.render.s(uuid4().hex), shop.publish.s()).apply_async()
    job_id = result.parent.id
    shop.wait_state(job_id, "PARKED")
    token = shop.token(job_id)
    with ThreadPoolExecutor(CALLERS) as pool:
        answers = list(pool.map(lambda number: site.post(token, number), range(CALLERS)))
    statuses = [answer.status_code for answer in answers]
    assert Counter(statuses) == {200: 1, 409: CALLERS - 1}
    winner = statuses.index(200)
    assert shop.get(job_id).result == winner
    assert result.get(timeout=20) == f"published {winner}"
    assert shop.events(job_id).count("refused") == CALLERS - 1


def test_fastapi_answers_others_while_the_database_is_waited_for(
    fastapi_site: Site, flask_and_fastapi_env: dict[str, str]
) -> None:
    job_id = fastapi_site.shop.started()
    path = flask_and_fastapi_env["DATABASE_URL"].removeprefix("sqlite:///")
    with (
        closing(sqlite3.connect(path, isolation_level=None)) as other,
        ThreadPoolExecutor(1) as one,
    ):
        other.execute("BEGIN IMMEDIATE")
        waiting = one.submit(fastapi_site.post, fastapi_site.shop.token(job_id), 1)
        try:
            for _ in range(100):
                answer = httpx.get(f"{fastapi_site.base}/login/ada", timeout=2)
                assert (answer.status_code, waiting.done()) == (200, False)
        finally:
            other.execute("ROLLBACK")
        assert waiting.result().status_code == 200


def test_the_pages_of_flask_and_fastapi_have_one_celery_side() -> None:
    assert files_of("flask.md").keys() == {"shop.py", "web.py"}
    assert files_of("fastapi.md").keys() == {"web.py"}
    of_django = {"shop/tasks.py", "shop/webhooks.py", "proj/urls.py", "shop/admin.py"}
    assert files_of("django.md").keys() == of_django
