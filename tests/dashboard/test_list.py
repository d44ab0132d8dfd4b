"""The list: what it finds, page by page, and what is done to a selection."""

from __future__ import annotations

from base64 import urlsafe_b64encode
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlencode

import pytest

from celery_external import DatabaseUnavailableError, External, OptionError
from celery_external.dashboard.search import LIMITS, MORE
from tests.dashboard.sheet import sheet_of
from tests.dashboard.visitors import BOB, Visitors


def at(hours: float) -> str:
    """A time as a browser sends it."""
    return f"{datetime.now(UTC) + timedelta(hours=hours):%Y-%m-%dT%H:%M}"


# --- What it finds --------------------------------------------------------------------------------


def test_the_newest_are_first(both: Visitors) -> None:
    jobs = [both.rows.parked() for _ in range(3)]
    assert both.shown("/jobs") == jobs[::-1]
    assert both.shown("/jobs?order=parked") == jobs
    assert "3 jobs" in both.see("/jobs").text


def test_every_filter_finds_the_one(both: Visitors) -> None:
    queries: list[dict[str, str]] = [
        {"state": "PARKED"},
        {"task": "rows.ask", "label": "high"},
        {"label": "a, b"},
        {"meta": "customer=7"},
        {"meta": "name=Ada L."},
        {"meta": '{"where": {"city": "Rome"}}'},
        {"reference": "ref-1"},
        {"root_id": "root"},
        {"parent_id": "parent"},
        {"group_id": "group"},
        {"attempt": "1", "reference": "ref-1"},
        {"state": "PARKED", "parked_since": at(-1), "parked_before": at(1)},
        {"deadline_since": at(0), "deadline_before": at(2)},
        {"created_since": at(-1), "reference": " ref-1 "},
    ]
    job_id = both.rows.parked(
        timeout=3600, labels=("high", "a, b"),
        meta={"customer": 7, "name": "Ada L.", "where": {"city": "Rome", "zip": 1}},
        root_id="root", parent_id="parent", group_id="group",
    )  # fmt: skip
    both.rows.write(job_id, reference="ref-1")
    both.rows.pending()
    for query in queries:
        assert both.shown(f"/jobs?{urlencode(query)}") == [job_id], query


def test_filters_on_what_is_over(both: Visitors) -> None:
    other, job_id = both.rows.settled(), both.rows.parked()
    both.external.signal_failed(job_id, "no", by="ada")
    for query in ("kind=failed", "completed_by=ada", "owed=yes", "settled=no", "state=FAILURE"):
        assert both.shown(f"/jobs?{query}") == [job_id], query
    assert both.shown("/jobs?settled=yes") == [other]
    assert both.shown(f"/jobs?order=completed&completed_since={at(-1)}") == [other, job_id]


def test_filters_on_what_is_not_as_it_should_be(both: Visitors) -> None:
    late, stuck = both.rows.parked(timeout=100), both.rows.parked()
    both.rows.parked()
    both.rows.move(late, deadline=-60, wake_at=-60)
    both.external.signal_succeeded(stuck)
    both.rows.write(stuck, sends=4)
    assert both.shown("/jobs?overdue=yes") == [late]
    assert both.shown("/jobs?stuck=yes") == [stuck]
    assert "overdue" in both.see("/jobs?overdue=yes").text
    assert "stuck" in both.see("/jobs?stuck=yes").text


def test_what_was_typed_is_shown_again(visitors: Visitors) -> None:
    typed = {"state": "PARKED", "task": "t", "meta": "a=1", "queue": "q", "owed": "yes",
             "deadline_before": "2026-01-02T03:04", "order": "parked", "limit": "25"}  # fmt: skip
    sheet = visitors.see(f"/jobs?{urlencode(typed)}&label=one&label=two")
    fields = sheet.form("Filters").fields
    assert set(fields) >= {*typed.items(), ("label", "one"), ("label", "two"), ("label", "")} - {
        ("owed", "yes")
    }
    assert "checked" in sheet.find(name="owed")
    # What is used is not folded away.
    assert sheet.count("details", open="") == 0
    assert [given for tag, given in sheet.tags if tag == "details" and "open" in given]


@pytest.mark.parametrize(
    ("query", "problem"),
    [
        ("meta=no+JSON", 'must be as customer=7, or as {"customer": 7}'),
        ("meta=%7Bno", "is no JSON"),
        ("meta==7", "must be as customer=7"),
        ("attempt=0", "must be a number from 1"),
        ("attempt=%D9%A1", "must be a number from 1"),
        ("attempt=99999999999", "must be a number from 1"),
        ("created_since=soon", "must be a time as 2026-01-31T12:00"),
        ("created_since=0001-01-01T00:00%2B05:00", "must be in the years 1 to 9999"),
        ("state=WAITING", "must be one of"),
        ("task=%00", "must not contain NUL"),
        ("order=up", "must be one of created, parked, completed"),
        ("after=nowhere", "is no page's next"),
        ("label=" + "x" * 256, "each must have 1 to 255 characters"),
    ],
)
def test_a_filter_that_cannot_be_used_is_told(visitors: Visitors, query: str, problem: str) -> None:
    visitors.rows.parked()
    sheet = visitors.see(f"/jobs?{query}", status=422)
    assert problem in sheet.text
    assert sheet.count("input", name="pick") == 0


@pytest.mark.parametrize("deep", ["[", '{"a":'])
def test_a_place_that_is_nested_without_an_end(visitors: Visitors, deep: str) -> None:
    after = urlsafe_b64encode(deep.encode() * 100_000).decode()
    with pytest.raises(OptionError, match="is no page's next"):
        visitors.external.find_jobs(after=after)


def test_fields_of_nobody_are_left_out(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    assert visitors.shown("/jobs?utm_source=mail&using=x&limit=1000000") == [job_id]


def test_page_after_page_shows_each_once(both: Visitors) -> None:
    jobs = [both.rows.parked()]
    jobs += both.rows.copy(jobs[0], LIMITS[0] * 2)
    found, url = [], f"/jobs?limit={LIMITS[0]}&task=rows.ask"
    for _ in range(3):
        sheet = both.see(url)
        picks = [g["value"] or "" for t, g in sheet.tags if g.get("name") == "pick"]
        found += [pick.partition(":")[2] for pick in picks]
        following = [g["href"] or "" for _, g in sheet.tags if g.get("rel") == "next"]
        url = following[0].removeprefix("/where/it%20is") if following else ""
    assert (sorted(found), url) == (sorted(jobs), "")
    assert f"{len(jobs)} jobs" in sheet.text
    assert "First page" in sheet.text


def test_a_list_that_refreshes_itself_asks_for_what_it_shows(visitors: Visitors) -> None:
    visitors.rows.parked()
    sheet = visitors.see("/jobs?state=PARKED&live=1")
    region = sheet.find(id="live")
    assert region["hx-get"] == "/where/it%20is/jobs?state=PARKED&live=1"
    assert (region["hx-select"], region["hx-trigger"]) == ("#live", "every 5s")
    assert "/where/it%20is/jobs?state=PARKED" in sheet.links
    assert "hx-get" not in visitors.see("/jobs?state=PARKED").find(id="live")


def test_every_filter_has_an_input(visitors: Visitors) -> None:
    names = {name for name, _ in visitors.see("/jobs").form("Filters").fields}
    ticks = {one.name for one in MORE if one.kind == "checkbox"}
    assert {one.name for one in MORE} - names == ticks
    assert {"state", "task", "meta", "label", "order", "limit"} <= names


# --- What is done to a selection ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("action", "typed", "end"),
    [
        ("approve", {}, ("SUCCESS", 1, "succeeded")),
        ("decline", {}, ("FAILURE", 1, "failed")),
        ("cancel", {}, ("REVOKED", 1, "cancelled")),
        ("rerun", {}, ("PENDING", 2, "rerun")),
        ("extend", {"amount": "3"}, ("PARKED", 1, "extended")),
    ],
)
def test_it_is_done_to_each(
    both: Visitors, action: str, typed: dict[str, str], end: tuple[Any, ...]
) -> None:
    jobs = [both.rows.parked() for _ in range(3)]
    answer = both.select(action, jobs[:2], external_reason="the lot", **typed)
    sheet = sheet_of(answer)
    assert "2 of 2 recorded" in sheet.text
    for job_id in jobs[:2]:
        row = both.rows.get(job_id)
        assert (row["state"], row["attempt"]) == end[:2]
        assert both.history(job_id) == [(end[2], "ada", "the lot")]
    assert both.history(jobs[2]) == []


def test_who_was_refused_and_why(both: Visitors) -> None:
    task = both.declare("rows.review", choices=("yes", "no"))
    good, stale, over, gone = (both.rows.parked() for _ in range(4))
    asked = str(task.apply_async().id)
    form = both.see("/jobs").form("Selected jobs")
    both.external.rerun_job(stale)
    both.external.signal_failed(over, "no", by="bob")
    picks = [f"1:{job_id}" for job_id in (good, stale, over, asked)]
    sheet = sheet_of(both.send(form, ("do", "approve"), picks=[*picks, "1:nobody's"]))
    assert "Approve: 1 of 5 recorded" in sheet.text
    assert "4 were refused" in sheet.text
    for job_id, words in {
        stale: "The page showed attempt 1, but attempt 2 is on by now",
        over: "It is over already: failed by bob",
        asked: "Its task asks for an answer",
        "nobody's": "It is not kept any more",
    }.items():
        behind = sheet.text[sheet.text.index(f"{job_id} Refused.") :]
        assert behind.split("Refused. ")[1].startswith(words)
    assert both.rows.get(gone)["kind"] is None
    assert both.rows.get(good)["kind"] == "succeeded"


def test_to_send_a_selection_again_is_fine(both: Visitors) -> None:
    job_id = both.rows.parked()
    form = both.see("/jobs").form("Selected jobs")
    for words in ("Recorded.", "Recorded; the same had been recorded before."):
        answer = both.send(form, ("do", "cancel"), picks=[f"1:{job_id}"])
        assert f"{job_id} {words}" in sheet_of(answer).text


def test_the_database_goes_away_amid_a_selection(
    visitors: Visitors, monkeypatch: pytest.MonkeyPatch
) -> None:
    jobs = [visitors.rows.parked() for _ in range(3)]
    asked: list[str] = []

    def cancel(_self: External, job_id: str, **said: Any) -> Any:
        asked.append(job_id)
        if len(asked) > 1:
            raise DatabaseUnavailableError("the database", "it is away")
        return signals_cancel(visitors.external, job_id, **said)

    signals_cancel = External.cancel_job
    monkeypatch.setattr(External, "cancel_job", cancel)
    sheet = sheet_of(visitors.select("cancel", jobs))
    assert "1 of 3 recorded" in sheet.text
    assert f"{jobs[0]} Recorded." in sheet.text
    for job_id in jobs[1:]:
        assert f"{job_id} Refused. The jobs' database is away" in sheet.text
    # Nobody waits for the database once more for each job that is left.
    assert asked == jobs[:2]


@pytest.mark.parametrize(
    ("action", "typed", "problem"),
    [
        ("decline", {}, "is required"),
        ("extend", {}, "must be a number, and a unit"),
        ("cancel", {"external_reason": "x" * 2001}, "at most 2000 characters"),
    ],
)
def test_what_is_missing_is_told_and_nothing_lost(
    visitors: Visitors, action: str, typed: dict[str, str], problem: str
) -> None:
    jobs = [visitors.rows.parked() for _ in range(2)]
    sheet = sheet_of(visitors.select(action, jobs[:1], **typed), 422)
    assert problem in sheet.text
    ticked = [g for _, g in sheet.tags if g.get("name") == "pick" and "checked" in g]
    assert [given["value"] for given in ticked] == [f"1:{jobs[0]}"]
    for name, text in typed.items():
        assert (name.replace("_", "-"), text) in sheet.form("Selected jobs").fields
    assert [visitors.history(job_id) for job_id in jobs] == [[], []]


def test_nothing_is_selected(visitors: Visitors) -> None:
    visitors.rows.parked()
    assert "Select 1 to 200 jobs first" in sheet_of(visitors.select("cancel", []), 422).text


@pytest.mark.parametrize("pick", ["", "1", "x:id", "-1:id", "1" * 20 + ":id", "\u0661:id"])
def test_a_selection_of_nobody(visitors: Visitors, pick: str) -> None:
    visitors.rows.parked()
    form = visitors.see("/jobs").form("Selected jobs")
    answer = visitors.send(form, ("do", "cancel"), picks=[pick])
    assert "What was sent cannot be used" in sheet_of(answer, 422).text


def test_an_action_of_nobody(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    form = visitors.see("/jobs").form("Selected jobs")
    form.buttons["do", "delete"] = ""
    answer = visitors.send(form, ("do", "delete"), picks=[f"1:{job_id}"])
    assert "Press one of the buttons" in sheet_of(answer, 422).text


def test_a_selection_may_be_large(visitors: Visitors) -> None:
    first = visitors.rows.parked()
    jobs = [first, *visitors.rows.copy(first, LIMITS[-1])]
    form = visitors.see("/jobs").form("Selected jobs")
    picks = [f"1:{job_id}" for job_id in jobs]
    answer = visitors.send(form, ("do", "cancel"), picks=picks[:-1])
    assert "200 of 200 recorded" in sheet_of(answer).text
    answer = visitors.send(form, ("do", "cancel"), picks=picks)
    assert "Select 1 to 200 jobs first" in sheet_of(answer, 422).text


def test_who_may_only_look_selects_nothing(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    form = visitors.see("/jobs").form("Selected jobs")
    sheet = visitors.see("/jobs", BOB)
    assert (sheet.count("input", name="pick"), job_id in sheet.text) == (0, True)
    answer = visitors.send(form, ("do", "cancel"), access=BOB, picks=[f"1:{job_id}"])
    assert "not decide them" in sheet_of(answer, 403).text
    assert visitors.history(job_id) == []
