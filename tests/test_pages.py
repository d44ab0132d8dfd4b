"""People who follow a link: what the page shows to whom, and what its form does."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from typing import Any

import pytest

from celery_external.webhooks.form_keys import form_key
from celery_external.webhooks.pages import show_job
from tests.callers import ACTIONS, LATER, STRANGE_KEY, Callers, end
from tests.markup import Page, answered, page_of
from tests.processes import REPOSITORY

SECRET_META = {"content": "the text", "score": 0.5, "more": {"a": [1]}}


# --- What is shown to whom ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "buttons", "fields"),
    [
        ("succeed", {("outcome", "succeeded"): "Complete"}, {"key", "by"}),
        ("fail", {("outcome", "failed"): "Fail"}, {"key", "by", "reason"}),
        (
            "decide",
            {("outcome", "succeeded"): "Complete", ("outcome", "failed"): "Fail"},
            {"key", "by", "reason"},
        ),
        ("view", {}, set()),
    ],
)
def test_a_page_shows_what_its_token_is_for(
    callers: Callers, action: Any, buttons: Any, fields: set[str]
) -> None:
    deadline = datetime(2999, 1, 2, 3, 4, tzinfo=UTC)
    job_id = callers.rows.parked(meta=SECRET_META, labels=["urgent"], deadline=deadline)
    callers.rows.external.signal_progress(job_id, 1, 4, "halfway")
    page = page_of(callers.get(callers.token(job_id, action)))
    assert page.buttons == buttons
    assert page.fields.keys() == fields
    text = " ".join(page.text.split())
    assert "rows.ask" in text
    details = ["the text", "0.5", '{ "a": [ 1 ] }', "urgent", "1 of 4 halfway", "2999-01-02 03:04"]
    shown = [one for one in details if one in text]
    assert shown == (details if action in {"decide", "view"} else [])
    # Who is logged in is not asked for a name.
    page = page_of(callers.get(callers.token(job_id, action), by="al"))
    assert page.fields.keys() == fields - {"by"}


def test_a_page_has_the_jobs_display_name(callers: Callers) -> None:
    job_id = callers.rows.parked(shadow="Approve the cat")
    page = page_of(callers.get(callers.token(job_id, "succeed")))
    assert "Approve the cat" in page.text
    assert "rows.ask" not in page.text


@pytest.mark.parametrize("state", ["owed", "settled", "cancelled", "timed_out", "retry"])
@pytest.mark.parametrize("action", ACTIONS)
def test_a_job_that_is_over_has_no_form(callers: Callers, state: str, action: Any) -> None:
    options = {"labels": ["urgent"]} if state == "retry" else {}
    job_id = getattr(callers.rows, state)(**options)
    text = answered(callers.get(callers.token(job_id, action)), 200)
    if state == "retry":
        assert "This link belongs to an earlier attempt" in text
        assert "urgent" not in text
    else:
        kind = callers.rows.get(job_id)["kind"].replace("_", " ")
        assert f"This is over: {kind} on 20" in text


def test_who_decided_is_told_to_those_who_judge(callers: Callers) -> None:
    job_id = callers.rows.parked()
    callers.rows.external.signal_succeeded(job_id, by="alice")
    for action in ACTIONS:
        text = answered(callers.get(callers.token(job_id, action)), 200)
        assert ("by alice" in text) is (action in {"decide", "view"})


def test_without_a_valid_token_nothing_is_shown(callers: Callers) -> None:
    job_id = callers.rows.parked(meta=SECRET_META, shadow="Approve the cat")
    words = {
        answered(callers.get(token), 403)
        for token in (
            "forged",
            callers.token(job_id, key=STRANGE_KEY),
            callers.token(job_id, namespace="other"),
            callers.token(job_id, expires_at=1),
        )
    }
    assert words == {"Not valid Not valid This link is not valid. It may have expired."}


# --- What a form does -----------------------------------------------------------------------------


def test_a_person_completes_a_job(callers: Callers) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    page = page_of(callers.get(token))
    typed = {**page.fields, "by": " alice ", "outcome": "succeeded"}
    assert "Recorded" in answered(callers.send(token, typed), 200)
    assert end(callers, job_id) == ("succeeded", None, None, "alice")
    assert "had been recorded before" in answered(callers.send(token, typed), 200)
    typed |= {"outcome": "failed", "reason": "no"}
    text = answered(callers.send(token, typed), 409)
    assert "Another answer came first" in text
    assert "It was succeeded on 20" in text


@pytest.mark.parametrize("action", ["fail", "decide"])
def test_a_person_fails_a_job_and_says_why(callers: Callers, action: Any) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id, action)
    typed = {**page_of(callers.get(token)).fields, "by": "alice", "outcome": "failed"}
    page = page_of(callers.send(token, {**typed, "reason": " "}), 422)
    assert "is required" in page.text
    assert (page.fields["by"], page.find("reason")["aria-invalid"]) == ("alice", "true")
    page = page_of(callers.send(token, {**typed, "reason": "x" * 2001}), 422)
    assert "must have at most 2000 characters" in page.text
    assert page.find("reason")["maxlength"] == "2000"
    assert callers.rows.get(job_id)["kind"] is None
    assert callers.send(token, {**typed, "reason": "too\r\nblue"}).status == 200
    assert end(callers, job_id) == ("failed", None, "too\nblue", "alice")


@pytest.mark.parametrize(("action", "said"), [("succeed", "failed"), ("fail", "succeeded")])
def test_a_form_says_no_more_than_its_page(callers: Callers, action: Any, said: str) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id, action)
    for outcome in (said, "", "progress"):
        typed = {**page_of(callers.get(token)).fields, "by": "al", "outcome": outcome}
        assert "choose one of the buttons" in page_of(callers.send(token, typed), 422).text
    assert callers.rows.get(job_id)["kind"] is None


def test_a_name_is_required_of_those_who_are_not_logged_in(callers: Callers) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id)
    typed = {**page_of(callers.get(token)).fields, "outcome": "succeeded"}
    for name in ("", "  ", "x" * 256, "\x00"):
        page = page_of(callers.send(token, {**typed, "by": name}), 422)
        assert page.find("by")["aria-invalid"] == "true"
    assert callers.rows.get(job_id)["kind"] is None


@pytest.mark.parametrize(
    ("state", "status", "words"),
    [
        ("pending", 202, "Recorded"),
        ("cancelled", 410, "This is not waited for any more"),
        ("timed_out", 410, "This is not waited for any more"),
        ("retry", 409, "an earlier attempt"),
    ],
)
@pytest.mark.parametrize("is_valid", [True, False])
def test_a_form_that_comes_late(
    callers: Callers,
    state: str,
    status: int,
    words: str,
    is_valid: bool,  # noqa: FBT001
) -> None:
    token = callers.token(getattr(callers.rows, state)())
    key = form_key(callers.rows.installation.settings.secret_keys, token, None)
    typed = {"key": key, "outcome": "succeeded", "by": "al" if is_valid else ""}
    if is_valid or status != 202:
        assert words in answered(callers.send(token, typed), status)
    else:
        assert page_of(callers.send(token, typed), 422).buttons


# --- In whose name --------------------------------------------------------------------------------


def test_who_is_logged_in_is_who_decided(callers: Callers) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id)
    typed = page_of(callers.get(token, by="alice")).fields
    sent = {**typed, "outcome": "succeeded", "by": "mallory"}
    assert callers.send(token, sent, by="alice").status == 200
    assert end(callers, job_id)[3] == "alice"


def test_no_other_site_can_send_a_form_in_somebodys_name(callers: Callers) -> None:
    job_id = callers.rows.parked()
    token, other = callers.token(job_id), callers.token(job_id, expires_at=LATER - 1)
    keys = {
        "none": None,
        "empty": "",
        "another user's": page_of(callers.get(token, by="mallory")).fields["key"],
        "nobody's": page_of(callers.get(token)).fields["key"],
        "another token's": page_of(callers.get(other, by="alice")).fields["key"],
        "strange": "é",
        "the token itself": token,
        "our token's signature": token.rpartition(".")[2],
    }
    for name, key in keys.items():
        typed = {"outcome": "succeeded"} | ({} if key is None else {"key": key})
        response = callers.send(token, typed, by="alice")
        assert response.status == 403, name
        assert "open the link again" in answered(response, 403)
    assert callers.rows.get(job_id)["kind"] is None
    typed = {**page_of(callers.get(token, by="alice")).fields, "outcome": "succeeded"}
    assert callers.send(token, typed, by="alice").status == 200


@pytest.mark.parametrize("body", [b"a", b"%ff=1", b"\xff=1", b"a=1&a=2", b"&".join([b"a=1"] * 300)])
def test_what_no_page_sends_is_refused(callers: Callers, body: bytes) -> None:
    job_id = callers.rows.parked()
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    response = callers.call(callers.token(job_id), body=body, headers=headers)
    assert "What was sent cannot be used" in answered(response, 422)


# --- Templates ------------------------------------------------------------------------------------


def test_what_no_page_can_show_is_no_error() -> None:
    shown = show_job(
        200, name="\ud800", job=None, notice=None, says="", buttons={}, button_name="x",
        inputs=(), shown={}, problems={}, key=None,
    )  # fmt: skip
    assert "?" in Page(shown.body).text


WITHOUT_JINJA = """
import sys, logging
sys.modules["jinja2"] = None
from celery import Celery
from celery_external.webhooks import Receiver, Request
logging.basicConfig(stream=sys.stdout, format="%(message)s")
app = Celery()
app.conf.external_database_url = "sqlite:///" + sys.argv[1]
receiver = Receiver(app)
print(receiver.receive("x", Request("POST", {"Content-Type": "application/json"})).status)
print(receiver.receive("x", Request("GET", {})).status)
"""


def test_only_a_page_needs_its_extra(tmp_path: Any) -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_JINJA, str(tmp_path / "jobs.sqlite3")],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=True,
    )
    lines = run.stdout.splitlines()
    assert "403" in lines
    assert lines[-1] == "500"
    assert any('pip install "celery-external[django]"' in line for line in lines)
