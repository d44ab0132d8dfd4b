"""A job's page: what it shows, and what its forms do."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from celery import chain, chord, group
from pydantic import BaseModel, Field

from celery_external.dashboard.job_page import MAX_ATTEMPTS
from celery_external.dashboard.rendering import MAX_SHOWN, fold
from tests.dashboard.sheet import SAFE, sheet_of
from tests.dashboard.visitors import BOB, Visitors, job_url

LONG = 1 << 20


class Review(BaseModel):
    """What a reviewer says."""

    stars: int = Field(ge=1, le=5)
    #: A form may well have a reason of its own.
    reason: str = ""


def outcome(visitors: Visitors, job_id: str) -> tuple[Any, ...]:
    """How a job has ended: state, result, reason, who said it."""
    job = visitors.external.get_job(job_id)
    return job.state, job.result, job.reason, job.completed_by


# --- What it shows --------------------------------------------------------------------------------


def test_it_shows_what_the_job_waits_for_and_until_when(visitors: Visitors) -> None:
    job_id = visitors.rows.parked(
        timeout=7205, labels=("high", "a, b"), meta={"customer": {"id": 7}}, args=("hello",)
    )
    visitors.external.signal_progress(job_id, 3, 12, "frames")
    sheet = visitors.job(job_id)
    for words in (
        "State parked", "Waits for an outcome", "Since 20", "(in 2 h", "3 of 12", "frames",
        "high", "a, b", '{ "id": 7 }', "('hello',)", "rows.ask", job_id, visitors.rows.queue,
    ):  # fmt: skip
        assert words in sheet.text, words
    bar = sheet.find(max="12")
    assert (bar["value"], bar["aria-label"]) == ("3", "Progress of rows.ask")
    assert "/where/it%20is/jobs?label=a%2C+b" in sheet.links


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ("pending", "Waits for a worker"),
        ("started", "Waits for the end of its trigger"),
        ("retry", "Waits for a worker"),
        ("owed", "Waits for Celery, which has not taken the outcome yet"),
        ("settled", "State succeeded Outcome succeeded"),
    ],
)
def test_each_state_says_what_is_waited_for(visitors: Visitors, state: str, words: str) -> None:
    assert words in visitors.job(getattr(visitors.rows, state)()).text


def test_a_job_that_nobody_knows(visitors: Visitors) -> None:
    for job_id in ("nobody's", "", "\x00", "x" * 300):
        text = visitors.see(job_url(job_id), BOB, status=404).text
        assert "is not kept any more" in text
        # Where the database is, is not for whoever may only look.
        for word in (visitors.rows.app.conf.external_database_url, "sqlite", "namespace"):
            assert word not in text.lower()


def test_what_is_a_megabyte_long_is_folded_and_cut(visitors: Visitors) -> None:
    text = "x" * LONG
    job_id = visitors.rows.parked(
        meta={"prompt": text, **{f"key {n}": n for n in range(150)}}, args=(text,), argsrepr=text
    )
    visitors.external.signal_failed(job_id, text, by="ada")
    response = visitors.ask(job_url(job_id))
    assert len(response.body) < 12 * MAX_SHOWN
    sheet = sheet_of(response)
    assert f"{LONG:,} characters" in sheet.text
    assert f"The other {LONG - MAX_SHOWN:,} characters are not shown" in sheet.text
    assert "51 more keys are not shown" in sheet.text
    assert sheet.count("details", **{"class": "fold"}) >= 4


def test_its_history_is_a_timeline_and_its_attempts_a_table(both: Visitors) -> None:
    job_id = both.rows.parked()
    both.external.extend_job(job_id, timeout=60, by="ada", reason="let us wait")
    both.external.rerun_job(job_id, by="bob")
    text = both.job(job_id).text
    timeline = text[text.index("History") :]
    places = [timeline.index(words) for words in ("created", "extended by ada", "rerun by bob")]
    assert places == sorted(places)
    assert "let us wait" in timeline
    attempts = text[text.index("Attempts") : text.index("History")]
    assert attempts.index("1 20") < attempts.index("2 ")
    assert "rerun" in attempts
    assert "pending" in attempts


def test_of_many_attempts_the_newest_are_shown(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    for _ in range(MAX_ATTEMPTS + 2):
        # As one that was cancelled may run again at once.
        visitors.external.cancel_job(job_id)
        visitors.external.rerun_job(job_id)
    text = visitors.job(job_id).text
    attempts = text[text.index("Attempts") : text.index("History")]
    assert "The first 3 attempts are not shown" in attempts
    assert attempts.count("cancelled") == MAX_ATTEMPTS - 1
    assert attempts.rstrip(" ").endswith(f"{MAX_ATTEMPTS + 3} pending")


def test_what_comes_next_is_read_without_the_tasks_code(visitors: Visitors) -> None:
    app, ask = visitors.rows.app, visitors.rows.task
    far = app.signature
    steps = chain(
        ask.s("x"),
        far("shop.publish"),
        chord([far("shop.mail", ("a",)), far("shop.tell")], far("shop.sum")),
        group(far("shop.left"), far("shop.right")),
    )
    # As a chord needs them.
    app.conf.update(result_backend="cache+memory://", task_allow_error_cb_on_chord_header=True)
    result: Any = steps.apply_async(link_error=far("shop.alarm"))
    while result.parent is not None:
        result = result.parent
    sheet = visitors.job(str(result.id))
    text = sheet.text[sheet.text.index("What comes next") : sheet.text.index("Attempts")]
    names = ("shop.publish", "shop.mail", "shop.tell", "shop.sum", "shop.left", "shop.right")
    places = [text.index(name) for name in names]
    assert places == sorted(places), text
    assert "When it fails" in text
    assert "shop.alarm" in text
    assert "shop.publish" not in app.tasks


def test_jobs_of_the_same_canvas_are_linked(visitors: Visitors) -> None:
    ask = visitors.rows.task
    result: Any = chain(ask.s(1), ask.s(2)).apply_async()
    first = result.parent.id
    second = visitors.rows.pending(root_id=first, parent_id=first, task_id=result.id)
    sheet = visitors.job(first)
    # In what comes next, and among the jobs of the canvas.
    assert sheet.links.count(f"/where/it%20is/job?id={second}") == 2
    assert "started this one" in visitors.job(second).text


def test_a_message_that_cannot_be_read(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    visitors.rows.write(job_id, body=b"\xff\xfe no JSON")
    assert "This process cannot read it" in visitors.job(job_id).text


class Strange:
    """What only pickle brings back."""

    def __repr__(self) -> str:
        return "<strange>"


@pytest.mark.parametrize(
    ("result", "words"),
    [
        ({"at": datetime(2026, 1, 2, tzinfo=UTC)}, '"at": "2026-01-02 00:00:00+00:00"'),
        ([Decimal("1.50"), UUID(int=7)], '"1.50", "00000000-0000-0000-0000-000000000007"'),
        ({(1, 2): "odd"}, "{(1, 2): 'odd'}"),
        ({"x": Strange()}, '"x": "<strange>"'),
    ],
)
def test_a_result_that_is_no_json(result: Any, words: str) -> None:
    assert words in " ".join(fold(result).shown.split())


# --- What its forms do ----------------------------------------------------------------------------


@pytest.mark.parametrize("result", ["", "null", '{"a": [1, "é"]}', '"text"'])
def test_to_approve(both: Visitors, result: str) -> None:
    job_id = both.rows.parked()
    response = both.decide(job_id, "Approve", result=result, external_reason=" well\r\ndone ")
    assert (response.status, response.headers["Location"]) == (
        303, f"/where/it%20is/job?id={job_id}&said=applied",
    )  # fmt: skip
    expected = json.loads(result) if result else None
    assert outcome(both, job_id) == ("SUCCESS", expected, "well\ndone", "ada")
    assert both.history(job_id) == [("succeeded", "ada", "well\ndone")]
    assert both.rows.sent() == [(job_id, 1)]
    assert "Recorded." in both.see(job_url(job_id, said="applied")).text


def test_to_decline(both: Visitors) -> None:
    job_id = both.rows.parked()
    sheet = sheet_of(both.decide(job_id, "Decline", external_reason=" "), 422)
    assert "is required" in sheet.text
    assert both.rows.get(job_id)["kind"] is None
    assert both.decide(job_id, "Decline", external_reason="no good").status == 303
    assert outcome(both, job_id) == ("FAILURE", None, "no good", "ada")


def test_to_cancel(both: Visitors) -> None:
    job_id = both.rows.parked()
    assert both.decide(job_id, "Cancel", external_reason="enough").status == 303
    assert both.history(job_id) == [("cancelled", "ada", "enough")]
    assert both.rows.get(job_id)["state"] == "REVOKED"


def test_to_extend(both: Visitors) -> None:
    job_id = both.rows.parked(timeout=60)
    typed = {"amount": "1.5", "unit": "days", "external_reason": "they asked"}
    assert both.decide(job_id, "Extend", **typed).status == 303
    job = both.external.get_job(job_id)
    assert job.deadline is not None
    assert job.parked_at is not None
    assert 129_600 <= (job.deadline - job.parked_at).total_seconds() < 129_700
    assert both.history(job_id) == [("extended", "ada", "they asked")]


def test_to_run_it_again(both: Visitors) -> None:
    job_id = both.rows.parked()
    assert both.decide(job_id, "Run again", external_reason="once more").status == 303
    assert (both.rows.get(job_id)["attempt"], both.rows.get(job_id)["state"]) == (2, "PENDING")
    assert both.history(job_id) == [("rerun", "ada", "once more")]


def test_a_failed_job_can_only_run_again_and_a_succeeded_one_nothing(visitors: Visitors) -> None:
    failed, succeeded = visitors.rows.parked(), visitors.rows.parked()
    visitors.external.signal_failed(failed, "no")
    visitors.external.signal_succeeded(succeeded)
    names = {one.name for one in visitors.job(failed).forms}
    assert names == {"Open a job", "Run again"}
    sheet = visitors.job(succeeded)
    assert {one.name for one in sheet.forms} == {"Open a job"}
    assert "There is nothing to decide any more" in sheet.text


@pytest.mark.parametrize("how", ["damaged", "not accepted"])
def test_a_job_whose_message_cannot_be_read_is_not_run_again(visitors: Visitors, how: str) -> None:
    job_id = visitors.rows.parked()
    visitors.external.signal_failed(job_id, "no")
    if how == "damaged":
        visitors.rows.write(job_id, body=b"\xff\xfe no JSON")
    else:
        visitors.rows.app.conf.accept_content = ["yaml"]
    sheet = sheet_of(visitors.decide(job_id, "Run again"), 409)
    assert "It cannot be done: its message cannot be read here" in sheet.text
    assert visitors.rows.get(job_id)["attempt"] == 1


@pytest.mark.parametrize(
    ("action", "typed", "problem"),
    [
        ("Approve", {"result": "no JSON"}, "is no JSON"),
        ("Approve", {"result": '{"a": NaN}'}, "is no JSON"),
        ("Approve", {"external_reason": "x" * 2001}, "at most 2000 characters"),
        ("Decline", {"external_reason": "x" * 2001}, "at most 2000 characters"),
        ("Decline", {"external_reason": "a\x00b"}, "must not contain NUL"),
        ("Extend", {"amount": "soon"}, "must be a number, and a unit"),
        ("Extend", {"amount": "nan"}, "must be more than 0"),
        ("Extend", {"amount": "-1"}, "must be more than 0"),
        ("Extend", {"amount": "1e300"}, "at most 100 years"),
        ("Extend", {"amount": "1", "unit": "moons"}, "must be a number, and a unit"),
    ],
)
def test_what_cannot_be_used_is_told_and_kept(
    visitors: Visitors, action: str, typed: dict[str, str], problem: str
) -> None:
    job_id = visitors.rows.parked()
    sheet = sheet_of(visitors.decide(job_id, action, **typed), 422)
    assert problem in sheet.text
    shown = dict(sheet.form(action).fields)
    for name, text in typed.items():
        if text != "moons":
            assert shown[name.replace("_", "-")] == text
    assert visitors.history(job_id) == []


# --- The task's own question ----------------------------------------------------------------------


def test_the_tasks_choices_and_form_are_asked(both: Visitors) -> None:
    both.declare(choices=("approve", "decline"), form=Review)
    job_id = both.rows.parked()
    form = both.job(job_id).form("Answer")
    assert [words for words in form.buttons.values() if words] == ["approve", "decline"]

    sheet = sheet_of(both.decide(job_id, "Answer", "decline", stars="9"), 422)
    assert "Input should be less than or equal to 5" in sheet.text
    assert ("stars", "9") in sheet.form("Answer").fields

    typed = {"stars": "4", "reason": "the form's", "external_reason": "the history's"}
    assert both.decide(job_id, "Answer", "decline", **typed).status == 303
    answer = {"choice": "decline", "stars": 4, "reason": "the form's"}
    assert outcome(both, job_id) == ("SUCCESS", answer, "the history's", "ada")


def test_what_was_not_offered_is_refused(visitors: Visitors) -> None:
    visitors.declare(choices=("approve", "decline"))
    job_id = visitors.rows.parked()
    form = visitors.job(job_id).form("Answer")
    form.buttons["choice", "reject"] = ""
    sheet = sheet_of(visitors.send(form, ("choice", "reject")), 422)
    assert "must be one of approve, decline" in sheet.text
    assert visitors.rows.get(job_id)["kind"] is None


def test_a_task_that_is_not_known_is_not_approved_here(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    form = visitors.job(job_id).form("Approve")
    visitors.rows.app.tasks.pop("rows.ask")
    sheet = visitors.job(job_id)
    assert "rows.ask is not known in this process" in sheet.text
    assert {one.name for one in sheet.forms} == {
        "Open a job", "Decline", "Extend", "Cancel", "Run again",
    }  # fmt: skip
    assert "is not known in this process" in sheet_of(visitors.send(form), 422).text
    assert visitors.decide(job_id, "Cancel").status == 303


# --- Pages that are out of date -------------------------------------------------------------------


@pytest.mark.parametrize("action", ["Approve", "Decline", "Extend", "Cancel", "Run again"])
def test_a_page_of_an_earlier_attempt_decides_nothing(both: Visitors, action: str) -> None:
    job_id = both.rows.parked()
    form = both.job(job_id).form(action)
    both.external.rerun_job(job_id, by="somebody else")
    typed: dict[str, Any] = {"external_reason": "why"}
    if action == "Extend":
        typed["amount"] = "1"
    response = both.send(form, **typed)
    sheet = sheet_of(response, 409)
    assert "The page showed attempt 1, but attempt 2 is on by now" in sheet.text
    assert both.rows.get(job_id)["state"] == "PENDING"
    assert both.rows.get(job_id)["attempt"] == 2
    assert both.history(job_id)[-1][:2] == ("refused", "ada")
    if action != "Run again":  # which a pending job cannot
        assert ("external-reason", "why") in sheet.form(action).fields


@pytest.mark.parametrize(
    ("action", "button", "typed"),
    [
        ("Decline", "yes", {"external_reason": " "}),
        ("Approve", "yes", {"result": "no JSON", "external_reason": "why"}),
        ("Extend", "yes", {"amount": "soon", "external_reason": "why"}),
        ("Cancel", "", {"external_reason": "why"}),
    ],
)
def test_what_cannot_be_used_on_a_page_of_an_earlier_attempt(
    visitors: Visitors, action: str, button: str, typed: dict[str, Any]
) -> None:
    job_id = visitors.rows.parked()
    form = visitors.job(job_id).form(action)
    visitors.external.rerun_job(job_id, by="somebody else")
    # The answer's forms are the new attempt's: the next click must not be a surprise.
    sheet = sheet_of(visitors.send(form, ("send", button), **typed), 409)
    assert "The page showed attempt 1, but attempt 2 is on by now" in sheet.text
    assert ("external-reason", typed["external_reason"]) in sheet.form(action).fields
    assert visitors.rows.get(job_id)["kind"] is None


def test_who_comes_second_is_told_who_was_first(both: Visitors) -> None:
    job_id = both.rows.parked()
    form = both.job(job_id).form("Decline")
    both.external.signal_succeeded(job_id, by="bob")
    sheet = sheet_of(both.send(form, external_reason="no"), 409)
    assert "Not recorded. It is over already: succeeded by bob on 20" in sheet.text
    assert outcome(both, job_id)[0] == "SUCCESS"


@pytest.mark.parametrize(
    ("action", "typed"),
    [
        ("Approve", {"result": "[1]"}),
        ("Decline", {"external_reason": "no"}),
        ("Cancel", {}),
        ("Run again", {}),
    ],
)
def test_a_second_click_is_fine(both: Visitors, action: str, typed: dict[str, Any]) -> None:
    job_id = both.rows.parked()
    form = both.job(job_id).form(action)
    first, second = (both.send(form, **typed) for _ in range(2))
    assert first.headers["Location"].endswith("said=applied")
    assert second.headers["Location"].endswith("said=duplicate")
    assert both.rows.get(job_id)["attempt"] == (2 if action == "Run again" else 1)
    assert "the same had been recorded" in both.see(job_url(job_id, said="duplicate")).text.lower()


def test_what_is_said_of_a_page_is_ours(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    assert "evil" not in visitors.see(job_url(job_id, said="evil")).text


# --- Without the right ----------------------------------------------------------------------------


def test_who_may_only_look_has_no_forms(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    form = visitors.job(job_id).form("Approve")
    sheet = visitors.job(job_id, BOB)
    assert {one.name for one in sheet.forms} == {"Open a job"}
    assert "rows.ask" in sheet.text
    response = visitors.send(form, access=BOB)
    assert "You may look at jobs here, but not decide them" in sheet_of(response, 403).text
    assert visitors.rows.get(job_id)["kind"] is None
    assert visitors.history(job_id) == []


def test_a_redirect_is_as_safe_as_a_page(visitors: Visitors) -> None:
    response = visitors.decide(visitors.rows.parked(), "Cancel")
    assert SAFE.items() <= response.headers.items()


@pytest.mark.parametrize("is_asked", [False, True])
def test_return_presses_no_button_that_decides(visitors: Visitors, is_asked: bool) -> None:  # noqa: FBT001 - a parameter
    if is_asked:
        visitors.declare(choices=("approve", "decline"))
    job_id = visitors.rows.parked()
    form = visitors.job(job_id).form("Answer" if is_asked else "Approve")
    # A browser takes the first one, also from a checkbox; disabled, it would take the next.
    first = next(iter(form.buttons))
    assert first == ("send", "")
    assert "Press one of the buttons" in sheet_of(visitors.send(form, first), 422).text
    assert visitors.history(job_id) == []
    form = visitors.see("/jobs").form("Selected jobs")
    first = next(iter(form.buttons))
    response = visitors.send(form, first, picks=[f"1:{job_id}"])
    assert "Press one of the buttons" in sheet_of(response, 422).text
    assert visitors.history(job_id) == []
