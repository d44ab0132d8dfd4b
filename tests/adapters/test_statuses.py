"""The table of statuses, over each framework, and the bodies that servers hand over."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx
import pytest

from celery_external.webhooks.exchange import RETRY_AFTER
from tests.adapters import raw
from tests.adapters.site import FORM, JSON, VIDEOS_SECRET, Site
from tests.callers import SAFE, STRANGE_KEY
from tests.rows import Rows
from tests.servers import Postgres
from tests.waiting import wait_for

MAX_BODY = 1 << 20
BASE64 = "whsec_b3RoZXI="


@dataclass(frozen=True)
class Case:
    """A call, what it is answered, and what the job's history has of it."""

    call: Callable[[Site, str], httpx.Response]
    status: int
    answer: Any
    #: Says what has happened to the job before.
    before: Callable[[Site, str], object] = lambda _site, _job_id: None
    events: tuple[str, ...] = ()

    def is_answered(self, answer: Any) -> bool:
        """Whether it is; of what is long only the beginning counts."""
        return bool({**answer, **self.answer} == answer)


def say(action: Any = "succeed", body: Any = 1, **claims: Any) -> Callable[..., httpx.Response]:
    return lambda site, job_id: site.post(site.shop.token(job_id, action, **claims), body)


def send(content: bytes, content_type: str = JSON["Content-Type"]) -> Callable[..., httpx.Response]:
    return lambda site, job_id: site.http.post(
        site.url(site.shop.token(job_id)), content=content, headers={"Content-Type": content_type}
    )


def use(method: str) -> Callable[..., httpx.Response]:
    return lambda site, job_id: site.http.request(method, site.url(site.shop.token(job_id)))


def provide(body: bytes = b"{}", **how: Any) -> Callable[..., httpx.Response]:
    return lambda site, _job_id: site.provide(body, **how)


CASES = {
    "applied": Case(say(), 200, {"status": "applied"}, events=("succeeded",)),
    "duplicate": Case(say(), 200, {"status": "duplicate"}, say(), ("succeeded",)),
    "conflict": Case(
        say(), 409, {"error": "conflict"}, say("fail", "no"), ("failed", "refused")
    ),
    "stale": Case(
        say(), 409, {"error": "stale"}, lambda site, job: site.shop.rerun(job), ("rerun", "refused")
    ),
    "cancelled": Case(
        say(), 410, {"error": "gone"}, lambda site, job: site.shop.external.cancel_job(job),
        ("cancelled", "refused"),
    ),
    "forged": Case(say(key=STRANGE_KEY), 403, {"error": "refused"}),
    "expired": Case(say(expires_at=1), 403, {"error": "refused"}, events=("refused",)),
    "to look": Case(say("view"), 403, {"error": "refused"}, events=("refused",)),
    "no such job": Case(
        lambda site, _: site.post(site.shop.token(str(uuid4())), 1), 404, {"error": "not_found"}
    ),
    "too large": Case(send(b"1" * (MAX_BODY + 1)), 413, {"error": "too_large"}),
    "no media type": Case(send(b"1", "text/plain"), 415, {"error": "media_type"}),
    "upload": Case(send(b"--x--", "multipart/form-data; boundary=x"), 415, {"error": "media_type"}),
    "no JSON": Case(send(b"{"), 422, {"error": "invalid"}),
    "deep": Case(send(b"[" * 100 + b"]" * 100), 422, {"error": "invalid"}),
    "a provider's": Case(provide(), 500, {"error": "internal"}),
    "provider's signature": Case(provide(secret=BASE64), 401, {"error": "signature"}),
    "provider's replay": Case(provide(at=time.time() - 3600), 401, {"error": "signature"}),
    "no such provider": Case(provide(provider="other"), 404, {"error": "not_found"}),
    "provider's body": Case(provide(b"{"), 422, {"error": "invalid"}),
    "provider's size": Case(provide(b"1" * (MAX_BODY + 1)), 413, {"error": "too_large"}),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_status(site: Site, name: str) -> None:
    case, job_id = CASES[name], site.shop.started()
    case.before(site, job_id)
    answer = case.call(site, job_id)
    assert answer.status_code == case.status, answer.text
    assert case.is_answered(answer.json()), answer.text
    for header, value in SAFE.items():
        assert answer.headers[header] == value
    assert site.shop.events(job_id)[-2:] == list(case.events)


def test_a_word_that_comes_before_the_trigger_has_run(site: Site) -> None:
    job_id = site.shop.pending()
    answer = site.post(site.shop.token(job_id), 1)
    assert (answer.status_code, answer.json()) == (202, {"status": "applied", "early": True})


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "OPTIONS"])
def test_other_methods_are_not_allowed(site: Site, method: str) -> None:
    job_id = site.shop.started()
    answer = site.http.request(method, site.url(site.shop.token(job_id)))
    assert answer.status_code == 405
    assert set(answer.headers["allow"].split(", ")) == {"GET", "HEAD", "POST"}
    for other in (method, "GET", "HEAD"):
        answer = site.http.request(other, f"{site.base}/external/providers/videos")
        assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


@pytest.mark.parametrize("path", ["/external/jobs/{}/", "/external//jobs/{}", "/external/jobs/"])
def test_no_redirect_makes_a_get_of_a_post(site: Site, path: str) -> None:
    job_id = site.shop.started()
    url = site.base + path.format(site.shop.token(job_id))
    assert site.http.post(url, json=1).status_code in {307, 308, 404}
    followed = site.http.post(url, json=1, follow_redirects=True)
    assert (followed.status_code, followed.request.method) in {(404, "POST"), (200, "POST")}


# --- Bodies ---------------------------------------------------------------------------------------


def test_a_body_of_the_largest_size_is_taken(site: Site) -> None:
    job_id = site.shop.started()
    body = json.dumps("x" * (MAX_BODY - 2)).encode()
    assert len(body) == MAX_BODY
    assert send(body)(site, job_id).status_code == 200
    assert len(site.shop.get(job_id).result) == MAX_BODY - 2


def test_a_body_in_chunks_is_taken_whole(site: Site) -> None:
    job_id = site.shop.started()
    url = site.url(site.shop.token(job_id))
    parts = (part for part in (b'{"a": ', b"[1, 2", b"]}"))
    answer = site.http.post(url, content=parts, headers=JSON)
    assert answer.status_code == 200, answer.text
    assert site.shop.get(job_id).result == {"a": [1, 2]}


@pytest.mark.parametrize("size", [MAX_BODY, MAX_BODY + 1])
def test_a_body_in_chunks_is_measured(site: Site, size: int) -> None:
    job_id = site.shop.started()
    body = json.dumps("x" * (size - 2)).encode()
    parts = (body[start : start + 50_000] for start in range(0, size, 50_000))
    answer = site.http.post(site.url(site.shop.token(job_id)), content=parts, headers=JSON)
    assert answer.status_code == (200 if size == MAX_BODY else 413)


def test_an_empty_body_is_no_result(site: Site) -> None:
    job_id = site.shop.started()
    assert send(b"")(site, job_id).status_code == 200
    assert site.shop.get(job_id).result is None


@pytest.mark.parametrize("how", ["length", "chunks"])
def test_a_body_that_breaks_off_says_nothing(site: Site, how: str) -> None:
    """The beginning of a number is a number."""
    job_id = site.shop.started()
    path = f"/external/jobs/{site.shop.token(job_id)}"
    if how == "length":
        start = raw.head("POST", path, Content_Type="application/json", Content_Length=10)
        status, _ = raw.request(site.base, start, b"12345", is_over=False)
    else:
        start = raw.head("POST", path, Content_Type="application/json", Transfer_Encoding="chunked")
        status, _ = raw.request(site.base, start, raw.chunk(b"12345"), is_over=False)
    assert status in {0, 400}
    assert site.post(site.shop.token(job_id), "all of it").json() == {"status": "applied"}


def test_a_form_with_a_body_that_breaks_off_says_nothing(site: Site) -> None:
    job_id = site.shop.started(site.shop.approve, "a text")
    token = site.shop.token(job_id, "decide")
    page = site.page(token)
    typed = f"key={page.fields['key']}&choice=approve&by=Ada".encode()
    length = len(typed) + len(b" Lovelace")
    start = raw.head("POST", f"/external/jobs/{token}", **FORM, Content_Length=length)
    assert raw.request(site.base, start, typed, is_over=False)[0] in {0, 400}
    assert site.shop.get(job_id).state == "PARKED"


# --- What is away, and what the host has ----------------------------------------------------------


def test_a_database_that_is_away(site: Site, stoppable: Postgres, away_url: str) -> None:
    with closing(Rows(away_url)) as rows, site.browser("ada") as browser:
        job_id = rows.parked()
        url = site.url(site.shop.token(job_id), where="away")
        stoppable.stop()
        try:
            for answer in (browser.post(url, json=1), browser.get(url)):
                assert answer.status_code == 503
                assert answer.headers["retry-after"] == str(RETRY_AFTER)
        finally:
            stoppable.start()
        assert wait_for(lambda: browser.get(url).status_code == 200, what="the database to be back")
        assert browser.post(url, json=1).json() == {"status": "applied"}


def test_no_token_is_logged(site: Site) -> None:
    job_id = site.shop.started()
    tokens = [site.shop.token(job_id, expires_at=1), site.shop.token(job_id)]
    for token in (*tokens, tokens[-1]):
        site.post(token, uuid4().hex)
    tokens.append(site.shop.token(job_id, key=STRANGE_KEY))
    assert site.post(tokens[-1]).status_code == 403
    assert site.shop.events(job_id) == ["refused", "succeeded", "refused"]
    wait_for(lambda: "none of external_secret_keys" in site.process.log(), what="the log")
    assert VIDEOS_SECRET not in site.process.log()
    assert not [token for token in tokens if token in site.process.log()]


def test_no_token_is_logged_where_django_cannot_say_who_is_logged_in(django_site: Site) -> None:
    token = django_site.shop.token(django_site.shop.started())
    answer = django_site.post(token, 1, where="unknown")
    assert (answer.status_code, answer.json()) == (503, {"error": "unavailable"})
    assert answer.headers["retry-after"] == str(RETRY_AFTER)
    wait_for(lambda: "the directory is away" in django_site.process.log(), what="the log")
    assert token not in django_site.process.log()


@pytest.mark.parametrize("name", ["flask", "django"])
def test_the_hosts_own_views_stay_guarded(request: pytest.FixtureRequest, name: str) -> None:
    site: Site = request.getfixturevalue(f"{name}_site")
    job_id = site.shop.started()
    with site.browser("ada") as browser:
        assert browser.post(site.url(site.shop.token(job_id)), json=1).status_code == 200
        refused = browser.post(f"{site.base}/guarded")
        assert refused.status_code == {"flask": 400, "django": 403}[name]
        assert "csrf" in refused.text.lower()
