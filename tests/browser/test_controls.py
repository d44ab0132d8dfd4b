"""Every control of the dashboard, used by keyboard.

What there is, is asked of the pages: a control that is added and not used here fails.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from playwright.sync_api import Browser, expect

from celery_external.dashboard.decisions import REASON
from celery_external.dashboard.search import FIRST, MORE
from tests.adapters.site import Site
from tests.browser.controls import (
    fields,
    fill,
    find,
    follow,
    hidden,
    names,
    stops,
    type_into,
    unfold,
)  # fmt: skip
from tests.browser.visitor import Visitor, begin, label, lines, visiting, waiting

#: What Return presses where no button was meant, and what is shown only once a job has changed.
HIDDEN = {
    *(f"{form}: [Return]" for form in (
        "Selected jobs", "Approve", "Answer", "Decline", "Fail", "Extend", "Cancel", "Run again",
    )),
    "link /job?id=*",
}  # fmt: skip
TIME = "01312026|ArrowRight|1200PM"
REVIEW = {"stars": "4", "title": "Fine", "remark": "So it is", "public": " ", "size": "large",
          "on": "01312026", "all tags": 'Control+A|["a"]', REASON: "by hand"}  # fmt: skip
WHY = {REASON: "by hand"}


@dataclass(frozen=True)
class Form:
    """A form of a job's page, or of the list: its button, what is typed, what the history says."""

    name: str
    button: str
    typed: dict[str, str]
    event: str
    task: str = "render"

    def __str__(self) -> str:
        return f"{self.task} {self.name} {self.button}"


FORMS = [
    Form("Approve", "Approve", {"result": '{"frames": 24}', **WHY}, "succeeded"),
    Form("Decline", "Decline", WHY, "failed"),
    Form("Extend", "Extend", {"amount": "3", "unit": "days", **WHY}, "extended"),
    Form("Cancel", "Cancel the job", WHY, "cancelled"),
    Form("Run again", "Run again", WHY, "rerun"),
    Form("Answer", "approve", REVIEW, "succeeded", task="approve"),
    Form("Answer", "decline", REVIEW, "succeeded", task="approve"),
    Form("Fail", "Fail", WHY, "failed", task="approve"),
    Form("Answer", "Send", REVIEW, "succeeded", task="rate"),
]
SELECTION = [
    Form("Selected jobs", "Approve", WHY, "succeeded"),
    Form("Selected jobs", "Decline", WHY, "failed"),
    Form("Selected jobs", "Cancel", WHY, "cancelled"),
    Form("Selected jobs", "Run again", WHY, "rerun"),
    Form("Selected jobs", "Extend", {**WHY, "amount": "3", "unit": "days"}, "extended"),
]
FILTERS = {
    **{one.name: {"time": TIME, "checkbox": " ", "integer": "1"}.get(one.kind, "x")
       for one in (*FIRST, *MORE)},
    "state": "PARKED", "kind": "failed", "settled": "no", "meta": "a=1", "label": "high",
    "order": "Oldest", "limit": "100",
}  # fmt: skip
BUTTONS = {
    "Open a job: [Open]",
    "Filters: [Show]",
    *(f"{form.name}: [{form.button}]" for form in (*FORMS, *SELECTION)),
}


@pytest.fixture(scope="module")
def ada(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Somebody who may decide, and does all of this at one sitting."""
    yield from visiting(browser, site, "ada")


def test_every_control_is_known_and_reached(ada: Visitor, paths: dict[str, str]) -> None:
    found: set[str] = set()
    for path in paths.values():
        page, reached = ada.go(path), set()
        if "live" in path:
            found |= set(names(page))
            continue
        for name in stops(page):
            reached.add(name)
            unfold(page, name)
        assert hidden(page) <= HIDDEN, path
        assert set(names(page)) - reached <= hidden(page), path
        found |= reached
    buttons = {name for name in found if name.endswith("]")}
    assert buttons == BUTTONS | (buttons & HIDDEN)
    # A field of another form would be nobody's.
    forms = {name.partition(": ")[0] for name in found if ": " in name}
    assert forms == {name.partition(": ")[0] for name in BUTTONS}


def test_every_link_leads_where_it_says(ada: Visitor, paths: dict[str, str]) -> None:
    used: set[str] = set()
    for path in paths.values():
        page = ada.go(path)
        for name in dict.fromkeys(names(page)):
            if not name.startswith("link ") or name in used or name in HIDDEN & hidden(page):
                continue
            used.add(name)
            page = ada.go(path)
            if name == "link #main":
                find(page, name).focus()
                page.keyboard.press("Enter")
                expect(page.locator("#main")).to_be_focused()
                continue
            follow(page, name)
            if "after=" in name:
                # Of the second page only.
                follow(page, name.replace("after=*&", ""))
    assert {"link /jobs", "link /job?id=*", "link /jobs?after=*&label=*&limit=25"} <= used
    assert {"link /?hours=24&live=1", "link /jobs?label=*&limit=25&live=1"} <= used


def test_every_fold_opens_and_closes(ada: Visitor, paths: dict[str, str]) -> None:
    used: set[str] = set()
    for path in paths.values():
        page = ada.go(path)
        for name in dict.fromkeys(names(page)):
            if not name.startswith("fold ") or name in used:
                continue
            used.add(name)
            fold = find(page, name)
            was_open = fold.evaluate("one => one.parentElement.open")
            for is_open in (not was_open, was_open):
                fold.focus()
                page.keyboard.press("Enter")
                expect(fold.locator("..")).to_have_js_property("open", is_open)
    assert {"fold a long value", "fold Details", "fold More filters", "fold As a table"} <= used


def test_every_filter_is_typed(ada: Visitor, paths: dict[str, str]) -> None:
    page = ada.go("/jobs")
    expected = fields(page, "Filters")
    assert fill(page, "Filters", FILTERS, "Show") == expected
    expect(page.get_by_text("No job fits.")).to_be_visible()
    asked = page.evaluate("Object.fromEntries(new URL(location).searchParams)")
    assert {name for name, value in asked.items() if value} == expected
    assert (asked["state"], asked["limit"], asked["order"], asked["created_since"]) == (
        "PARKED", "100", "created", "2026-01-31T12:00",
    )  # fmt: skip

    job_id = paths["job"].partition("=")[2]
    page.reload()
    assert fields(page, "Open a job") == {"id"}
    assert fill(page, "Open a job", {"id": job_id}, "Open") == {"id"}
    expect(page).to_have_url(re.compile(f"/job\\?id={job_id}$"))


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_every_form_of_a_job(ada: Visitor, site: Site, form: Form) -> None:
    # Only what has parked is run again.
    is_rerun = form.button == "Run again"
    job_id = begin(site).parent.id if is_rerun else waiting(site, form.task)
    page = ada.go(f"/job?id={job_id}")
    find(page, f"fold {form.name}").focus()
    page.keyboard.press("Shift+Tab")
    assert fields(page, form.name) == set(form.typed)
    assert fill(page, form.name, form.typed, form.button) == set(form.typed)
    expect(page.get_by_role("status").filter(has_text="Recorded.")).to_be_visible()
    assert lines(site, job_id) == [(form.event, "ada", "by hand")]
    job = site.shop.get(job_id)
    if form.name == "Approve":
        assert job.result == {"frames": 24}
    if form.name == "Answer":
        choice = {} if form.button == "Send" else {"choice": form.button}
        assert job.result == {
            **choice, "stars": 4, "title": "Fine", "remark": "So it is", "public": True,
            "size": "large", "on": "2026-01-31", "tags": ["a"],
        }  # fmt: skip
    if form.name == "Extend":
        expect(page.get_by_text("(in 2 d 23 h)")).to_be_visible()


@pytest.mark.parametrize("form", SELECTION, ids=str)
def test_every_button_of_a_selection(ada: Visitor, site: Site, form: Form) -> None:
    name, is_rerun = label(), form.button == "Run again"
    jobs = [
        begin(site, labels=[name]).parent.id if is_rerun else waiting(site, "render", labels=[name])
        for _ in range(2)
    ]
    page = ada.go(f"/jobs?label={name}")
    find(page, "Selected jobs: pick-all").focus()
    page.keyboard.press("Space")
    expect(page.get_by_text("(2 selected)")).to_be_visible()
    # The newer one is not meant.
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    expect(page.get_by_text("(1 selected)")).to_be_visible()
    assert fill(page, form.name, form.typed, form.button) == set(form.typed)
    expect(page.get_by_role("heading")).to_have_text(f"{form.button}: 1 of 1 recorded")
    assert [lines(site, job_id) for job_id in jobs] == [[(form.event, "ada", "by hand")], []]
    # What the page that tells of it has below the head; one of the two is used.
    own = ["link /job?id=*", "link /jobs?label=*"]
    assert names(page)[-3:] == ["Open a job: [Open]", *own]
    follow(page, own[form.button in {"Approve", "Cancel"}])


def test_every_field_of_a_selection_is_typed_by_its_buttons(
    ada: Visitor, paths: dict[str, str]
) -> None:
    typed = {field for form in SELECTION for field in form.typed}
    assert fields(ada.go(paths["list"]), "Selected jobs") == {*typed, "pick", "pick-all"}


@pytest.mark.parametrize(
    ("path", "typed"),
    [
        ("job", ("Extend: amount", "3")),
        ("job that is asked", ("Answer: stars", "4")),
        ("job that is asked", ("Answer: public", " ")),
        ("list", ("Selected jobs: amount", "3")),
        ("list", ("Selected jobs: pick", " ")),
    ],
    ids=str,
)
def test_return_decides_nothing(
    ada: Visitor, site: Site, paths: dict[str, str], path: str, typed: tuple[str, str]
) -> None:
    page, (field, keys) = ada.go(paths[path]), typed
    jobs = [paths[name].partition("=")[2] for name in ("job", "job that is asked")]
    before = [site.shop.get(job_id) for job_id in jobs]
    find(page, field).focus()
    type_into(page, keys)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Press one of the buttons")).to_be_visible()
    assert [site.shop.get(job_id) for job_id in jobs] == before


def test_a_job_that_has_changed_is_opened_again(browser: Browser, site: Site) -> None:
    job_id = begin(site).parent.id
    for visitor in visiting(browser, site, "ada"):
        visitor.page.clock.install()
        page = visitor.go(f"/job?id={job_id}&live=1")
        site.shop.external.cancel_job(job_id)
        # The page looks again every five seconds.
        page.clock.run_for(6000)
        link = page.get_by_role("link", name="Open it again")
        expect(link).to_be_visible()
        assert "link /job?id=*" not in hidden(page)
        link.focus()
        page.keyboard.press("Enter")
        expect(page).to_have_url(re.compile(f"id={job_id}$"))
        expect(page.get_by_text("cancelled", exact=True).first).to_be_visible()
