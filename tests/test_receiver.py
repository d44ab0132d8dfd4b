"""Machines that call with a token: each answer, and what is in the row and the history after it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from celery_external import OptionError, Succeeded, signals
from celery_external.webhooks import Provider, Receiver, Request, Stripe
from tests.callers import ACTIONS, APPLIED, FORM, JSON, OLD_KEY, SAFE, Callers, end
from tests.servers import Postgres

EARLY = (202, {"status": "applied", "early": True})
DUPLICATE = (200, {"status": "duplicate"})


# --- What a body says -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "body", "ended"),
    [
        ("succeed", {"url": "x", "n": [1, None]}, ("succeeded", {"url": "x", "n": [1, None]})),
        ("succeed", None, ("succeeded", None)),
        ("succeed", "text", ("succeeded", "text")),
        ("fail", {"reason": "no cats"}, ("failed", "no cats")),
        ("fail", "no cats", ("failed", "no cats")),
        ("decide", {"outcome": "succeeded", "result": 5, "by": "al"}, ("succeeded", 5)),
        ("decide", {"outcome": "succeeded", "by": "al"}, ("succeeded", None)),
        ("decide", {"outcome": "failed", "reason": "no", "by": "al"}, ("failed", "no")),
    ],
)
def test_a_body_ends_its_job(callers: Callers, action: Any, body: Any, ended: Any) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id, action)
    assert callers.post(token, body) == APPLIED
    kind, result, reason, by = end(callers, job_id)
    assert (kind, reason if kind == "failed" else result) == ended
    assert by == ("al" if action == "decide" else "callback")
    assert callers.rows.events(job_id) == [kind]
    assert callers.rows.sent() == [(job_id, 1)]

    assert callers.post(token, body) == DUPLICATE


def test_an_empty_body_is_no_result(callers: Callers) -> None:
    job_id = callers.rows.parked()
    assert callers.call(callers.token(job_id)).status == 200
    assert end(callers, job_id)[:2] == ("succeeded", None)


def test_progress_is_said_with_a_token_to_decide(callers: Callers) -> None:
    job_id = callers.rows.parked(heartbeat=100)
    callers.rows.move(job_id, due_at=5)
    said = {"outcome": "progress", "current": 1, "total": 3, "message": "hm", "by": "al"}
    assert callers.post(callers.token(job_id, "decide"), said) == APPLIED
    progress = callers.rows.external.get_job(job_id).progress
    assert progress is not None
    assert (progress.current, progress.total, progress.message) == (1, 3, "hm")
    job = callers.rows.get(job_id)
    assert job["due_at"].timestamp() > time.time() + 50  # it is the heartbeat


INVALID: list[tuple[Any, bytes, str]] = [
    ("succeed", b"{", "The body is no JSON: "),
    ("succeed", b"\xff", "The body is no JSON: "),
    ("succeed", b'{"a": 1, "a": 2}', "The body is no JSON: a key is there twice"),
    ("succeed", b"NaN", "The body is no JSON: NaN is not JSON"),
    ("succeed", b"[-Infinity]", "The body is no JSON: -Infinity is not JSON"),
    ("succeed", b"1e999", "The body is no JSON: a number is larger than any float"),
    ("succeed", b"9" * 5000, "The body is no JSON: an integer has more than 1024 bits"),
    ("succeed", b"9" * 310, "The body is no JSON: an integer has more than 1024 bits"),
    ("succeed", b"[" * 66 + b"]" * 66, "The body is no JSON: nested deeper than 64"),
    ("succeed", b"[" * 500_000, "The body is no JSON: nested deeper than 64"),
    ("succeed", b'{"__type__": 1, "__value__": 2}', "__type__ and __value__ are kombu's keys"),
    ("fail", b"{}", "reason must be a text"),
    ("fail", b"[]", "The body must be an object"),
    ("fail", b'{"reason": 5}', "reason must be a text"),
    ("fail", rb'"\u0000"', "must not contain NUL characters"),
    ("decide", b'{"by": "al"}', "outcome must be succeeded, failed or progress"),
    ("decide", b'{"by": "al", "outcome": "view"}', "outcome must be succeeded, failed or progress"),
    ("decide", b'{"by": "al", "outcome": "failed"}', "reason must be a text"),
    (
        "decide",
        b'{"by": "al", "outcome": "progress", "current": "half"}',
        "must be a finite number, not 'half'",
    ),
]


@pytest.mark.parametrize(("action", "body", "problem"), INVALID)
def test_a_body_that_says_nothing_usable(
    callers: Callers, action: Any, body: bytes, problem: str
) -> None:
    job_id = callers.rows.parked()
    before = callers.rows.get(job_id)
    response = callers.call(callers.token(job_id, action), body=body)
    answer = json.loads(response.body)
    assert (response.status, answer["error"]) == (422, "invalid")
    assert answer["problem"].startswith(problem)
    assert callers.rows.get(job_id) == before
    assert callers.rows.history(job_id) == []


@pytest.mark.parametrize("body", [b"[" * 64 + b"]" * 64, b"9" * 300, b"1e308", rb'"\ud800\u0000"'])
def test_what_is_just_within_the_limits(callers: Callers, body: bytes) -> None:
    job_id = callers.rows.parked()
    assert callers.call(callers.token(job_id), body=body).status == 200
    assert end(callers, job_id)[1] == json.loads(body)


def test_a_reason_has_a_length_that_a_history_can_have(callers: Callers) -> None:
    job_id = callers.rows.parked()
    said = {"outcome": "failed", "by": "al", "reason": "x" * 2001}
    calls: list[tuple[Any, Any]] = [("fail", said), ("fail", "x" * 2001), ("decide", said)]
    for action, body in calls:
        answer = {"error": "invalid", "problem": "reason must have at most 2000 characters"}
        assert callers.post(callers.token(job_id, action), body) == (422, answer)
    assert callers.rows.history(job_id) == []
    assert callers.post(callers.token(job_id, "fail"), "\N{SNOWMAN}" * 2000) == APPLIED
    assert end(callers, job_id)[2] == "\N{SNOWMAN}" * 2000


# --- What the row says ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("state", "answer"),
    [
        ("pending", EARLY),
        ("started", EARLY),
        ("parked", APPLIED),
        ("owed", DUPLICATE),
        ("settled", DUPLICATE),
        ("early", DUPLICATE),
    ],
)
def test_a_success_in_each_state(callers: Callers, state: str, answer: Any) -> None:
    job_id = getattr(callers.rows, state)()
    assert callers.post(callers.token(job_id), 1) == answer


@pytest.mark.parametrize(
    ("state", "status", "word", "kind"),
    [
        ("owed", 409, "conflict", "succeeded"),
        ("claimed", 409, "conflict", "succeeded"),
        ("settled", 409, "conflict", "succeeded"),
        ("continued", 409, "conflict", "continued"),
        ("cancelled", 410, "gone", "cancelled"),
        ("timed_out", 410, "gone", "timed_out"),
    ],
)
def test_another_outcome_was_first(
    callers: Callers, state: str, status: int, word: str, kind: str
) -> None:
    job_id = getattr(callers.rows, state)()
    refused: list[Any] = []

    def keep(job: Any, error: Exception, **_: Any) -> None:
        refused.append((job.id, type(error).__name__))

    signals.signal_refused.connect(keep, sender=callers.rows.app)

    answer = callers.post(callers.token(job_id), "another")

    completed_at = callers.rows.get(job_id)["completed_at"].isoformat()
    outcome = {"kind": kind, "completed_at": completed_at}
    assert answer == (status, {"error": word, "outcome": outcome})
    assert callers.rows.events(job_id)[-1] == "refused"
    assert refused == [(job_id, "JobAlreadyCompletedError")]


def test_an_attempt_that_is_over(callers: Callers) -> None:
    job_id = callers.rows.retry()
    assert callers.post(callers.token(job_id), 1) == (409, {"error": "stale"})
    line = callers.rows.history(job_id)[-1]
    assert (line["event"], line["by"]) == ("refused", "callback")
    assert "attempt 1 was named, but attempt 2 is the open one" in line["details"]["error"]
    assert callers.rows.get(job_id)["kind"] is None
    assert callers.post(callers.token(job_id, attempt=2), 1)[0] in {200, 202}


def test_a_job_that_is_not_there(callers: Callers) -> None:
    token = callers.token("gone")
    assert callers.post(token, 1) == (404, {"error": "not_found"})
    assert callers.get(token).status == 404


def test_of_many_who_call_at_once_one_is_first(callers: Callers, pool: ThreadPoolExecutor) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id)
    answers = list(pool.map(lambda number: callers.post(token, number), range(8)))
    statuses = sorted(status for status, _ in answers)
    assert statuses == [200] + [409] * 7
    assert sorted(callers.rows.events(job_id)) == ["refused"] * 7 + ["succeeded"]


# --- Requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "post", ""])
def test_other_methods(callers: Callers, method: str) -> None:
    response = callers.call(callers.token(callers.rows.parked()), method)
    assert (response.status, response.headers["Allow"]) == (405, "GET, HEAD, POST")


@pytest.mark.parametrize(
    "media_type",
    ["", "text/plain", "text/json", "multipart/form-data; boundary=x", "application/xml", "json"],
)
def test_other_types(callers: Callers, media_type: str) -> None:
    headers = {"Content-Type": media_type} if media_type else {}
    response = callers.call(callers.token(callers.rows.parked()), body=b"1", headers=headers)
    answer = {"error": "media_type", "wanted": "application/json"}
    assert (response.status, json.loads(response.body)) == (415, answer)


@pytest.mark.parametrize(
    "media_type", ["application/json", "Application/JSON; charset=utf-8", "application/vnd.x+json"]
)
def test_types_of_json(callers: Callers, media_type: str) -> None:
    headers = {"CONTENT-TYPE": media_type}
    token = callers.token(callers.rows.parked())
    assert callers.call(token, body=b"1", headers=headers).status == 200


def test_a_request_has_nothing_that_nobody_reads() -> None:
    assert Request.__match_args__ == ("method", "headers", "body", "by")


@pytest.mark.parametrize("headers", [JSON, FORM])
def test_too_large_bodies(make_callers: Callable[..., Callers], headers: Any) -> None:
    callers = make_callers(max_body=100)
    token = callers.token(callers.rows.parked())
    assert callers.call(token, body=b" " * 101, headers=headers).status == 413
    assert callers.call(token, body=b" " * 100).status == 200


def test_every_answer_is_safe(callers: Callers) -> None:
    good = callers.token(callers.rows.parked())
    for response in (
        callers.call(good, body=b"{"),
        callers.call(good, body=b"1"),
        callers.call(good, "PUT"),
        callers.call("forged"),
        callers.receiver.receive_from("nobody", Request("POST", {})),
    ):
        assert response.headers.items() >= SAFE.items()
        assert response.headers["Content-Type"] == "application/json"


def test_a_database_that_is_away(callers: Callers, postgres: Postgres) -> None:
    for url in ("postgresql+psycopg://nobody@127.0.0.1:1/none", postgres.create_database()):
        app = type(callers.rows.app)("away", set_as_current=False)
        app.conf.update(external_database_url=url, external_secret_keys=[OLD_KEY])
        provider = Provider("t", Stripe("whsec_x"), lambda _: "r", lambda _: Succeeded())
        receiver = Receiver(app, providers={"p": provider})
        for action in ACTIONS[:3]:
            token = callers.token("any", action, key=OLD_KEY)
            for request in (Request("POST", JSON), Request("GET", {}), Request("POST", FORM)):
                response = receiver.receive(token, request)
                assert (response.status, response.headers["Retry-After"]) == (503, "10")
        # Nobody learns more from a token that allows nothing.
        expired = callers.token("any", key=OLD_KEY, expires_at=1)
        assert receiver.receive(expired, Request("POST", JSON)).status == 403
        app.close()


# --- Whatever comes -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def lasting(sqlite_template: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    path = tmp_path_factory.mktemp("fuzz") / "jobs.sqlite3"
    path.write_bytes(sqlite_template.read_bytes())
    callers = Callers(f"sqlite:///{path}")
    with closing(callers.rows):
        yield callers, callers.rows.parked()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    body=st.binary() | JSON_VALUES.map(lambda value: json.dumps(value).encode()),
    headers=st.sampled_from([JSON, FORM, {}]) | st.dictionaries(st.text(), st.text()),
    method=st.sampled_from(["GET", "POST", "HEAD"]) | st.text(),
    action=st.sampled_from(ACTIONS),
    by=st.none() | st.text(),
)
def test_whatever_comes_is_answered(  # noqa: PLR0917
    lasting: Any, body: bytes, headers: Any, method: str, action: Any, by: str | None
) -> None:
    callers, job_id = lasting
    token = callers.token(job_id, action)
    response = callers.call(token, method, body, headers=headers, by=by)
    assert response.status in {200, 403, 405, 409, 415, 422}
    assert callers.call(body.decode("latin-1"), method, body, headers=headers).status in {403, 405}


@pytest.mark.parametrize(
    "options",
    [
        {"mapping": "x"},
        {"max_body": 0},
        {"max_body": "1"},
        {"providers": {"p": "x"}},
        {"providers": {"": Provider("t", Stripe("s"), str, lambda _: None)}},
        {"providers": {"a/b": Provider("t", Stripe("s"), str, lambda _: None)}},
    ],
)
def test_what_a_receiver_is_made_with_is_checked(callers: Callers, options: Any) -> None:
    (name,) = options
    with pytest.raises(OptionError, match=f"^{name}: "):
        Receiver(callers.rows.app, **options)
