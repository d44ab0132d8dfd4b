"""People who follow a link: what the page shows to whom, and what its form does."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, date, datetime
from typing import Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, field_validator

from celery_external.webhooks import Response
from celery_external.webhooks.form_keys import form_key
from celery_external.webhooks.pages import show_job
from tests.callers import ACTIONS, LATER, SAFE, STRANGE_KEY, Callers
from tests.markup import Page
from tests.processes import REPOSITORY

SECRET_META = {"content": "the text", "score": 0.5, "more": {"a": [1]}}


class Review(BaseModel):
    """What a reviewer says beside."""

    stars: int = Field(ge=1, le=5, description="One to five")
    remark: str = Field("fine", max_length=1000)
    public: bool = False
    size: Literal["s", "m"] = "m"
    on: date | None = None

    @field_validator("remark")
    @classmethod
    def stumble(cls, value: str) -> str:
        """Have a bug."""
        if value == "bug":
            raise ZeroDivisionError
        return value


def page_of(response: Response, status: int = 200) -> Page:
    """The page, which is safe whatever it shows."""
    assert response.status == status, response.body
    nonce = response.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
    style = f"default-src 'none'; style-src 'nonce-{nonce}'; "
    policy = SAFE["Content-Security-Policy"].replace("default-src 'none'; ", style)
    assert response.headers.items() >= {**SAFE, "Content-Security-Policy": policy}.items()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(response.body)
    page.check_harmless()
    assert [given for tag, given in page.tags if tag == "style"] == [{"nonce": nonce}]
    return page


def answered(response: Response, status: int) -> str:
    """The words of a page that has nothing to decide."""
    page = page_of(response, status)
    assert (page.fields, page.buttons) == ({}, {})
    return " ".join(page.text.split())


def end(callers: Callers, job_id: str) -> tuple[Any, ...]:
    job = callers.rows.external.get_job(job_id)
    return job.kind, job.result, job.reason, job.completed_by


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
    job_id = getattr(callers.rows, state)()
    text = answered(callers.get(callers.token(job_id, action)), 200)
    if state == "retry":
        assert "This link belongs to an earlier attempt" in text
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


# --- Choices and forms ----------------------------------------------------------------------------


@pytest.fixture
def asking(callers: Callers) -> Callers:
    callers.declare(choices=("approve", "decline"), form=Review)
    return callers


def test_a_task_says_what_may_be_answered(asking: Callers) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    page = page_of(asking.get(token))
    assert page.buttons == {("choice", "approve"): "approve", ("choice", "decline"): "decline"}
    key = page.fields.pop("key")
    assert page.fields == {"stars": "", "remark": "fine", "size": "m", "on": "", "by": ""}
    assert page.find("stars").items() >= {"type": "number", "min": "1", "max": "5"}.items()
    assert "required" in page.find("stars")
    assert page.find("on")["type"] == "date"
    assert "One to five" in page.text

    typed = {**page.fields, "key": key, "choice": "decline", "by": "alice"}
    typed |= {"stars": "6", "remark": "no", "public": "on", "size": "s", "on": "soon"}
    page = page_of(asking.send(token, typed), 422)
    assert "Input should be less than or equal to 5" in page.text
    assert "Input should be a valid date" in page.text
    invalid = [given["name"] for _, given in page.tags if "aria-invalid" in given]
    assert invalid == ["stars", "on"]
    assert page.fields == {name: text for name, text in typed.items() if name != "choice"}
    assert asking.rows.get(job_id)["kind"] is None

    typed |= {"stars": "5", "on": "2026-01-02"}
    assert asking.send(token, typed).status == 200
    result = {
        "choice": "decline", "stars": 5, "remark": "no", "public": True, "size": "s",
        "on": "2026-01-02",
    }  # fmt: skip
    assert end(asking, job_id) == ("succeeded", result, None, "alice")


@pytest.mark.parametrize("choice", [{}, {"choice": ""}, {"choice": "perhaps"}])
def test_only_the_choices_may_be_chosen(asking: Callers, choice: dict[str, str]) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    typed = {**page_of(asking.get(token)).fields, "by": "al", "stars": "3", **choice}
    assert "must be one of approve, decline" in page_of(asking.send(token, typed), 422).text
    said = {"by": "al", "stars": 3, **choice}
    fields = {"choice": "must be one of approve, decline"}
    assert asking.post(token, said) == (422, {"error": "invalid", "fields": fields})
    assert asking.rows.get(job_id)["kind"] is None


def test_a_machine_answers_likewise(asking: Callers) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    status, answer = asking.post(token, {"by": "al", "outcome": "succeeded", "result": 1})
    assert (status, sorted(answer["fields"])) == (422, ["choice", "stars"])
    assert asking.post(token, {"by": "bot", "choice": "approve", "stars": 1})[0] == 200
    kind, result, _, by = end(asking, job_id)
    assert (kind, result["choice"], result["stars"], by) == ("succeeded", "approve", 1, "bot")
    # Over is over, whatever is sent.
    assert asking.post(token, {"by": "al"})[1]["error"] == "conflict"


def test_a_form_without_choices_has_one_button(callers: Callers) -> None:
    callers.declare(form=Review)
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    page = page_of(callers.get(token))
    assert page.buttons == {("send", "yes"): "Send"}
    assert callers.send(token, {**page.fields, "stars": "2", "by": "al"}).status == 200
    assert end(callers, job_id)[1] == {
        "stars": 2, "remark": "fine", "public": False, "size": "m", "on": None
    }  # fmt: skip


def test_an_answer_must_suit_the_result_type_too(callers: Callers) -> None:
    callers.declare(choices=("yes",), result_type=int)
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    typed = {**page_of(callers.get(token)).fields, "by": "al", "choice": "yes"}
    page = page_of(callers.send(token, typed), 422)
    assert "Input should be a valid integer" in page.text
    assert page.fields["by"] == "al"


def test_a_bug_of_the_forms_is_logged_and_not_shown(
    asking: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    typed = {**page_of(asking.get(token)).fields, "by": "al", "stars": "3", "choice": "approve"}
    response = asking.send(token, {**typed, "remark": "bug"})
    assert "Something is wrong here" in answered(response, 500)
    assert caplog.records[-1].getMessage().startswith(f"Job {job_id}: ")
    assert "ZeroDivisionError" in caplog.text
    said = {"by": "al", "stars": 3, "choice": "approve", "remark": "bug"}
    assert asking.post(token, said) == (500, {"error": "internal"})


# --- Whatever a job contains ----------------------------------------------------------------------

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "</textarea><script>alert(1)</script>",
    "</title></style><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202e\ufeff\U0001f600",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_a_job_contains_gets_loose(callers: Callers, attack: str) -> None:
    class Hostile(BaseModel):
        model_config = ConfigDict(alias_generator=lambda name: f"{name} {attack}")

        plain: str = Field(attack, description=attack, title=attack)
        long: str = Field(attack, max_length=1000)
        option: Literal["x", attack] = attack  # type: ignore[valid-type]
        named: str = attack

    callers.declare(choices=(attack, "no"), form=Hostile)
    job_id = callers.rows.parked(
        meta={attack: {attack: [attack]}, "text": attack}, labels=[attack], shadow=attack
    )
    callers.rows.external.signal_progress(job_id, 1, 2, attack)
    token = callers.token(job_id, "decide")
    page = page_of(callers.get(token))
    assert ("choice", attack) in page.buttons
    fields = [f"{name} {attack}" for name in ("plain", "long", "option", "named")]
    assert [page.fields[name] for name in fields] == [attack] * 4
    # What was typed comes back as it was, and so does what is wrong with it.
    typed = {**page.fields, "by": attack, "choice": "?"}
    again = page_of(callers.send(token, typed), 422)
    assert again.fields == {**page.fields, "by": attack}
    assert attack in again.text

    assert callers.send(token, {**typed, "choice": attack}).status == 200
    assert end(callers, job_id)[1]["choice"] == attack
    over = page_of(callers.get(token))
    assert f"by {attack.strip()}" in over.text


def test_what_no_page_can_show_is_no_error() -> None:
    shown = show_job(
        200, name="\ud800", job=None, notice=None, says="", buttons={}, button_name="x",
        inputs=(), shown={}, problems={}, key=None,
    )  # fmt: skip
    assert "?" in Page(shown.body).text


# --- Templates ------------------------------------------------------------------------------------

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
