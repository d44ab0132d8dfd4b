"""The dashboard in a real browser: people find jobs, read them, and decide them."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from playwright.sync_api import Browser, Locator, Page, expect

from celery_external import ExternalJobFailed
from tests.adapters.site import Site
from tests.browser.visitor import Visitor, begin, label, lines, visiting
from tests.processes import REPOSITORY

#: Where the documents have their pictures; they are taken anew only if somebody asks for it.
IMAGES = REPOSITORY / "docs" / "images"
PHONE = {"width": 375, "height": 700}


# --- To find, to read, to decide ------------------------------------------------------------------


def test_a_job_is_found_by_label_read_and_approved_and_the_chain_goes_on(
    ada: Visitor, site: Site
) -> None:
    name = label()
    result = begin(site, site.shop.approve, "a very blue sky", labels=[name])
    page = ada.go("/jobs")
    page.get_by_label("Label", exact=True).fill(name)
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("1 job", exact=True)).to_be_visible()
    page.get_by_role("link", name="tests.browser.shop.approve").click()

    facts = page.get_by_role("region", name="What it is")
    expect(facts).to_contain_text("a very blue sky")
    expect(facts).to_contain_text("parked")
    coming = page.get_by_role("region", name="What comes next")
    expect(coming).to_contain_text("tests.browser.shop.publish")
    expect(coming).to_contain_text(result.id)

    form = ada.form("Answer")
    form.get_by_label("Stars").fill("4")
    form.get_by_label("Public").check()
    form.get_by_label("Size").select_option("large")
    form.get_by_label("Reason, for the history").fill("as blue as can be")
    form.get_by_role("button", name="approve").click()
    expect(page.get_by_text("Recorded.")).to_be_visible()
    answer = result.get(timeout=20)
    assert (answer["choice"], answer["stars"], answer["public"]) == ("approve", 4, True)
    assert lines(site, result.parent.id) == [("succeeded", "ada", "as blue as can be")]
    page.reload()
    expect(page.get_by_role("region", name="History")).to_contain_text("succeeded by ada")
    expect(page.get_by_text("There is nothing to decide any more")).to_be_visible()


def test_a_selection_is_declined(ada: Visitor, site: Site) -> None:
    name = label()
    results = [begin(site, labels=[name]) for _ in range(3)]
    page = ada.go(f"/jobs?label={name}")
    boxes = page.get_by_role("checkbox", name="Select tests.browser.shop.render")
    expect(boxes).to_have_count(3)
    page.get_by_role("checkbox", name="Select all").check()
    expect(page.get_by_text("(3 selected)")).to_be_visible()
    page.locator(f"input[value='1:{results[0].parent.id}']").uncheck()
    expect(page.get_by_text("(2 selected)")).to_be_visible()
    page.get_by_role("button", name="Decline").click()
    reason = page.get_by_label("Reason, for the history")
    expect(reason).to_have_accessible_description("is required")
    # What was ticked is ticked still.
    expect(page.get_by_role("checkbox", name="Select all")).to_have_js_property(
        "indeterminate", value=True
    )
    reason.fill("not these")
    page.get_by_role("button", name="Decline").click()
    expect(page.get_by_role("heading")).to_have_text("Decline: 2 of 2 recorded")
    for result in results[1:]:
        with pytest.raises(ExternalJobFailed, match="not these"):
            result.parent.get(timeout=20)
        assert lines(site, result.parent.id) == [("failed", "ada", "not these")]
    assert lines(site, results[0].parent.id) == []
    page.get_by_role("link", name="Back to the list").click()
    expect(boxes).to_have_count(3)


def test_every_form_of_a_job_is_used_once(ada: Visitor, site: Site) -> None:
    result = begin(site)
    job_id = result.parent.id
    page = ada.open(job_id)

    form = ada.form("Extend")
    form.get_by_label("Wait from now").fill("2")
    form.get_by_label("Unit").select_option("days")
    form.get_by_label("Reason, for the history").fill("they are slow")
    form.get_by_role("button", name="Extend").click()
    expect(page.get_by_text("(in 1 d 23 h)")).to_be_visible()

    form = ada.form("Run again")
    form.get_by_role("button", name="Run again").click()
    expect(page.get_by_text("Recorded.")).to_be_visible()
    site.shop.wait_state(job_id, "PARKED")
    page = ada.open(job_id)
    expect(page.get_by_role("row", name=re.compile("^2 20"))).to_be_visible()

    form = ada.form("Cancel")
    form.get_by_label("Reason, for the history").fill("enough")
    form.get_by_role("button", name="Cancel the job").click()
    expect(page.get_by_text("Recorded.")).to_be_visible()
    assert lines(site, job_id) == [
        ("extended", "ada", "they are slow"),
        ("rerun", "ada", None),
        ("cancelled", "ada", "enough"),
    ]  # fmt: skip

    other = begin(site)
    page = ada.open(other.parent.id)
    form = ada.form("Approve")
    form.get_by_label("Result").fill('{"frames": 24}')
    form.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Recorded.")).to_be_visible()
    assert other.get(timeout=20) == {"frames": 24}

    third = begin(site)
    page = ada.open(third.parent.id)
    form = ada.form("Decline")
    form.get_by_label("Reason").fill("too dark")
    form.get_by_role("button", name="Decline").click()
    expect(page.get_by_text("Recorded.")).to_be_visible()
    with pytest.raises(ExternalJobFailed, match="too dark"):
        third.parent.get(timeout=20)


def test_every_button_of_a_selection_is_used_once(ada: Visitor, site: Site) -> None:
    ends = {"Approve": "succeeded", "Cancel": "cancelled", "Run again": "rerun",
            "Extend": "extended"}  # fmt: skip
    for button, event in ends.items():
        name = label()
        job_id = begin(site, labels=[name]).parent.id
        page = ada.go(f"/jobs?label={name}")
        page.get_by_role("checkbox", name="Select tests.").check()
        if button == "Extend":
            page.get_by_label("Wait from now").fill("30")
            page.get_by_label("Unit").select_option("minutes")
        page.get_by_role("button", name=button).click()
        expect(page.get_by_role("heading")).to_have_text(f"{button}: 1 of 1 recorded")
        assert lines(site, job_id) == [(event, "ada", None)]


def test_the_overview_leads_to_lists(ada: Visitor, site: Site) -> None:
    begin(site)
    page = ada.go()
    for name in ("Parked now, by task", "Outcomes in the last day", "Waiting times"):
        expect(page.get_by_role("img", name=name)).to_be_visible()
    page.get_by_role("link", name="Last week").click()
    expect(page.get_by_role("img", name="Outcomes in the last week")).to_be_visible()
    page.get_by_text("As a table").first.click()
    table = page.get_by_role("table", name="Parked now, by task")
    table.get_by_role("link", name="tests.browser.shop.render").click()
    expect(page.get_by_role("combobox", name="State")).to_have_value("PARKED")
    expect(page.get_by_role("textbox", name="Task")).to_have_value("tests.browser.shop.render")
    page.get_by_role("link", name="Clear").click()
    page.get_by_text("More filters").click()
    page.get_by_label("Reference").fill("nobody's")
    page.get_by_role("button", name="Show").click()
    expect(page.get_by_text("No job fits.")).to_be_visible()
    expect(page.get_by_label("Reference")).to_be_visible()


def test_page_after_page(ada: Visitor, site: Site) -> None:
    name = label()
    for _ in range(26):
        site.shop.render.apply_async(("x",), labels=[name], queue="nobody's")
    page = ada.go(f"/jobs?label={name}&limit=25")
    boxes = page.get_by_role("checkbox", name="Select tests.")
    expect(boxes).to_have_count(25)
    page.get_by_role("link", name="Next page").click()
    expect(boxes).to_have_count(1)
    page.get_by_role("link", name="First page").click()
    expect(boxes).to_have_count(25)


# --- What changes meanwhile -----------------------------------------------------------------------


def test_a_list_refreshes_itself_but_not_under_the_hand(ada: Visitor, site: Site) -> None:
    name = label()
    first = begin(site, labels=[name]).parent.id
    page = ada.go(f"/jobs?label={name}")
    page.get_by_role("link", name="Refresh by itself").click()
    expect(page.get_by_role("link", name="Stop refreshing")).to_be_visible()
    box = page.get_by_role("checkbox", name=f"Select tests.browser.shop.render {first}")
    box.check()
    page.get_by_label("Reason, for the history").fill("half a sen")
    begin(site, labels=[name])
    expect(page.get_by_text("Refreshing is paused.")).to_be_visible()
    expect(box).to_be_checked()
    expect(page.get_by_text("1 job", exact=True)).to_be_visible()
    box.uncheck()
    page.get_by_label("Reason, for the history").focus()
    expect(page.get_by_text("2 jobs", exact=True)).to_be_visible()
    expect(page.get_by_role("status").filter(has_text="Now 2 jobs")).to_be_visible()
    expect(page.get_by_label("Reason, for the history")).to_have_value("half a sen")
    page.get_by_role("link", name="Stop refreshing").click()
    expect(page.get_by_role("link", name="Refresh by itself")).to_be_visible()


def test_a_jobs_page_says_that_the_job_has_changed(ada: Visitor, site: Site) -> None:
    job_id = begin(site).parent.id
    page = ada.open(job_id)
    page.get_by_role("link", name="Refresh by itself").click()
    reason = ada.form("Decline").get_by_label("Reason")
    reason.fill("typed")
    site.shop.external.signal_progress(job_id, 3, 4, "frames")
    expect(page.get_by_role("progressbar")).to_have_attribute("value", "3")
    expect(page.get_by_text("has changed since the page was opened")).to_be_hidden()
    site.shop.rerun(job_id)
    expect(page.get_by_text("has changed since the page was opened")).to_be_visible()
    expect(reason).to_have_value("typed")
    # What is sent all the same counts for nothing.
    ada.form("Decline").get_by_role("button", name="Decline").click()
    expect(page.get_by_text("The page showed attempt 1, but attempt 2 is on")).to_be_visible()
    expect(ada.form("Decline").get_by_label("Reason")).to_have_value("typed")
    assert site.shop.get(job_id).state == "PARKED"


def test_two_clicks_are_as_good_as_one(ada: Visitor, site: Site) -> None:
    result = begin(site)
    page = ada.open(result.parent.id)
    ada.form("Approve").get_by_label("Result").fill("1")
    again = ada.context.new_page()
    again.goto(page.url)
    again.get_by_role("form", name="Approve").get_by_label("Result").fill("1")
    for tab in (page, again):
        tab.get_by_role("button", name="Approve").click()
        expect(tab.get_by_text("Recorded.")).to_be_visible()
    expect(again.get_by_text("The same had been recorded before")).to_be_visible()
    assert lines(site, result.parent.id) == [("succeeded", "ada", None)]


# --- Without the right ----------------------------------------------------------------------------


def test_who_may_only_look_has_nothing_to_press(bob: Visitor, site: Site) -> None:
    name = label()
    job_id = begin(site, labels=[name]).parent.id
    page = bob.go(f"/jobs?label={name}")
    expect(page.get_by_text("1 job", exact=True)).to_be_visible()
    expect(page.get_by_role("checkbox")).to_have_count(0)
    assert page.get_by_role("button").all_inner_texts() == ["Open", "Show"]
    page = bob.open(job_id)
    assert page.get_by_role("button").all_inner_texts() == ["Open"]
    expect(page.get_by_role("heading", name="Decide")).to_have_count(0)
    expect(page.get_by_text("(to look)")).to_be_visible()


def test_a_forged_form_is_refused(ada: Visitor, bob: Visitor, site: Site) -> None:
    job_id = begin(site).parent.id
    page = ada.open(job_id)
    form = page.get_by_role("form", name="Approve")
    url = form.evaluate("form => form.action")
    key = form.locator("input[name=key]").input_value()
    page.locator("form[aria-label=Approve] input[name=key]").evaluate("one => one.value += 'x'")
    form.get_by_role("button", name="Approve").click()
    expect(page.get_by_text("Please open the page again")).to_be_visible()

    # Another site's page, with a key that is good.
    other = ada.context.new_page()
    other.route("https://evil.example/", lambda route: route.fulfill(
        content_type="text/html",
        body=f'<form method="post" action="{url}"><input name="key" value="{key}"></form>',
    ))  # fmt: skip
    other.goto("https://evil.example/")
    ada.urls.remove("https://evil.example/")
    other.evaluate("document.forms[0].submit()")
    expect(other.get_by_role("heading")).to_have_text(re.compile("Not (recorded|for you)"))

    # Somebody without the right, with a key of somebody who has it.
    page = bob.open(job_id)
    status = page.evaluate(
        """([url, key]) => fetch(url, {method: "POST", body: new URLSearchParams({key})})
        .then(response => response.status)""",
        [url, key],
    )
    assert status == 403
    assert lines(site, job_id) == []


# --- By keyboard, on a phone, without a script ----------------------------------------------------


def walk(page: Page, element: Locator, *, most: int = 60) -> None:
    """Go on with the tab key until the element has the focus, and shows it."""
    for _ in range(most):
        page.keyboard.press("Tab")
        if element.evaluate("element => element === document.activeElement"):
            break
    expect(element).to_be_focused()
    assert element.evaluate("element => getComputedStyle(element).outlineStyle") != "none"


def test_it_needs_no_mouse(ada: Visitor, site: Site) -> None:
    name = label()
    result = begin(site, labels=[name])
    page = ada.go("/jobs")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    walk(page, page.get_by_label("Label", exact=True))
    page.keyboard.type(name)
    page.keyboard.press("Enter")
    expect(page.get_by_text("1 job", exact=True)).to_be_visible()

    # In the list: tick it, say why, and press nothing by mistake.
    box = page.get_by_role("checkbox", name="Select tests.browser.shop.render")
    walk(page, box)
    page.keyboard.press("Space")
    expect(box).to_be_checked()
    # Return is nobody's button, on a tick and in a field.
    page.keyboard.press("Enter")
    expect(page.get_by_text("Press one of the buttons")).to_be_visible()
    expect(box).to_be_checked()
    walk(page, page.get_by_label("Wait from now"))
    page.keyboard.type("3")
    page.keyboard.press("Enter")
    expect(page.get_by_label("Wait from now")).to_have_value("3")
    assert lines(site, result.parent.id) == []
    walk(page, page.get_by_role("button", name="Extend"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("Extend: 1 of 1 recorded")

    walk(page, page.get_by_role("link", name=result.parent.id))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Decide")).to_be_visible()
    for title in ("Extend", "Cancel", "Run again"):
        fold = page.locator("summary", has_text=re.compile(f"^{title}$"))
        walk(page, fold)
        page.keyboard.press("Enter")
        expect(page.get_by_role("form", name=title)).to_be_visible()
    fold = page.locator("summary", has_text=re.compile("^Decline$"))
    fold.focus()
    page.keyboard.press("Enter")
    form = page.get_by_role("form", name="Decline")
    walk(page, form.get_by_label("Reason"), most=3)
    page.keyboard.type("by hand")
    walk(page, form.get_by_role("button", name="Decline"), most=3)
    page.keyboard.press("Enter")
    expect(page.get_by_text("Recorded.")).to_be_visible()
    assert lines(site, result.parent.id)[-1] == ("failed", "ada", "by hand")


def test_it_is_as_narrow_as_a_phone(browser: Browser, site: Site) -> None:
    word = "x" * 200
    result = begin(site, site.shop.render, word, shadow=word, labels=[word, label()],
                   meta={word: word, "deep": {word: [word]}})  # fmt: skip
    job_id = result.parent.id
    site.shop.external.extend_job(job_id, timeout=60, by=word, reason=word)
    for visitor in visiting(browser, site, "ada", viewport=PHONE):
        page = visitor.page
        for width in (1000, 780, PHONE["width"]):
            page.set_viewport_size({"width": width, "height": 700})
            for path in ("/", "/jobs", f"/job?id={job_id}"):
                visitor.go(path)
                wide = page.evaluate("document.documentElement.scrollWidth")
                assert wide == width, path
        form = visitor.form("Decline")
        form.get_by_label("Reason").fill("on the way")
        form.get_by_role("button", name="Decline").click()
        expect(page.get_by_text("Recorded.")).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]


def test_it_needs_no_script(browser: Browser, site: Site) -> None:
    name = label()
    result = begin(site, site.shop.approve, labels=[name])
    other = begin(site, labels=[name])
    for visitor in visiting(browser, site, "ada", java_script_enabled=False):
        page = visitor.go()
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        expect(page.get_by_role("link", name="Refresh by itself")).to_be_hidden()
        page.get_by_role("link", name="Jobs").click()
        page.get_by_label("Label", exact=True).fill(name)
        page.get_by_role("button", name="Show").click()
        page.locator(f"input[value='1:{other.parent.id}']").check()
        page.get_by_role("button", name="Approve").click()
        expect(page.get_by_role("heading")).to_have_text("Approve: 1 of 1 recorded")
        page.get_by_role("link", name="Back to the list").click()
        page.get_by_role("link", name="tests.browser.shop.approve").click()
        form = visitor.form("Answer")
        form.get_by_label("Stars").fill("3")
        form.get_by_role("button", name="decline").click()
        expect(page.get_by_text("Recorded.")).to_be_visible()
    assert result.get(timeout=20)["choice"] == "decline"


# --- Whatever is in a job -------------------------------------------------------------------------

RUN = "console.log('it runs')"
ATTACK = "".join(
    (
        f"<script>{RUN}</script>",
        f'"><img src onerror="{RUN}">',
        f'</textarea></title></style><svg onload="{RUN}"></svg>',
        f"' hx-on:load={RUN} hx-get=/x hx-trigger=load x='",
    )
)


def test_nothing_of_a_job_runs(ada: Visitor, site: Site) -> None:
    name = label()
    meta = {ATTACK: {ATTACK: ATTACK}}
    result = begin(site, site.shop.render, ATTACK, shadow=ATTACK, labels=[ATTACK, name], meta=meta)
    job_id = result.parent.id
    external = site.shop.external
    external.signal_progress(job_id, 1, 2, ATTACK)
    external.extend_job(job_id, timeout=60, by=ATTACK, reason=ATTACK)
    for path in ("/", f"/jobs?label={name}&live=1", f"/job?id={job_id}&live=1"):
        page = ada.go(path)
        # What htmx brings into the page is as harmless as the page.
        if "live" in path:
            with page.expect_response(lambda response: response.request.resource_type == "xhr"):
                pass
    expect(page).to_have_title(re.compile(re.escape("<script>")))
    form = ada.form("Decline")
    form.get_by_label("Reason").fill(ATTACK)
    form.get_by_role("button", name="Decline").click()
    expect(page.get_by_text("Recorded.")).to_be_visible()
    assert site.shop.get(job_id).reason == ATTACK
    page.get_by_label("Job id").fill(ATTACK)
    page.get_by_role("button", name="Open").click()
    expect(page.get_by_role("heading")).to_have_text("Not found")


# --- What it looks like ---------------------------------------------------------------------------


def contrasts(page: Page) -> list[Any]:
    """Words whose colour is too close to what is behind them (WCAG 2, AA)."""
    found: list[Any] = page.evaluate((Path(__file__).parent / "contrast.js").read_text())
    return found


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_its_words_can_be_read(browser: Browser, site: Site, scheme: str) -> None:
    name = label()
    begin(site, labels=[name])
    job_id = begin(site, labels=[name]).parent.id
    site.shop.external.signal_failed(job_id, "no", by="ada")
    for visitor in visiting(browser, site, "ada", color_scheme=scheme):
        for path in ("/", f"/jobs?label={name}&meta=x", f"/job?id={job_id}"):
            page = visitor.go(path)
            assert contrasts(page) == [], path


@pytest.mark.skipif("SCREENSHOTS" not in os.environ, reason="the documents have their pictures")
def test_pictures_for_the_documents(browser: Browser, site: Site) -> None:
    shop = site.shop
    IMAGES.mkdir(exist_ok=True)
    for number in range(24):
        options = {"shadow": "render", "labels": ["high" if number % 3 else "low"]}
        job_id = begin(site, **options).parent.id
        shop.external.signal_progress(job_id, number % 7, 7, "frames")
        if number % 5 == 4:
            shop.external.signal_failed(job_id, "out of memory", by="video service")
        elif number % 4:
            shop.external.signal_succeeded(job_id, number, by="video service")
    spread(shop.app.conf.external_database_url)
    job_id = begin(site, shop.approve, "The sky is blue.", shadow="approve").parent.id
    shop.external.extend_job(job_id, timeout=7200, by="grace", reason="Ada is back after lunch")
    size = {"width": 1000, "height": 820}
    for visitor in visiting(browser, site, "ada", viewport=size):
        for name, path in (
            ("overview", "/"), ("list", "/jobs?limit=25"), ("job", f"/job?id={job_id}"),
        ):  # fmt: skip
            visitor.go(path).screenshot(path=IMAGES / f"{name}.png")


def spread(url: str) -> None:
    """Have what is in the database begin and end at other times, as in a day."""
    moved = "strftime('%Y-%m-%d %H:%M:%f000', {}, '-' || (rowid * rowid * 7 % 1380) || ' minutes')"
    later = "strftime('%Y-%m-%d %H:%M:%f000', completed_at, (rowid * 5 % 43) || ' minutes')"
    engine = sa.create_engine(url)
    with engine.begin() as connection:
        for name in ("created_at", "started_at", "parked_at", "completed_at"):
            value = moved.format(name)
            connection.exec_driver_sql(f"UPDATE celery_external_job SET {name} = {value}")  # noqa: S608
        connection.exec_driver_sql(f"UPDATE celery_external_job SET completed_at = {later}")  # noqa: S608
    engine.dispose()
