"""The page of a link in a real browser: people decide on it, and nothing else happens."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import chain
from playwright.sync_api import Page, Route, expect

from celery_external import ExternalJobFailed, Job
from tests.adapters.site import Site
from tests.browser.person import Person, gap, press, reach, style

REMARK = "\nVery blue.\n\n  And <b>bold</b>."
#: A width of body's own style, which a browser has if the policy lets it.
WIDTH = "672px"
RED = "rgb(176, 0, 32)"


# --- To decide ------------------------------------------------------------------------------------


def test_a_person_answers_and_the_chain_goes_on(person: Person, site: Site) -> None:
    result, token = begin(site)
    page = person.follow(token)
    expect(page.get_by_role("heading")).to_have_text("tests.browser.shop.approve")
    expect(page.get_by_text("a sky")).to_be_visible()
    assert style(page.locator("body"), "maxWidth") == WIDTH
    fill(page)
    page.get_by_label("Public").check()
    page.get_by_label("Size").select_option("large")
    page.get_by_label("On").fill("2026-01-02")
    page.get_by_label("Tags").fill('["a", "é"]')
    press(page, "approve")
    assert style(page.locator("body"), "maxWidth") == WIDTH
    assert result.get(timeout=20) == {
        "choice": "approve", "stars": 4, "title": "Sky", "remark": REMARK, "public": True,
        "size": "large", "on": "2026-01-02", "tags": ["a", "é"],
    }  # fmt: skip
    assert decisions(site.shop.get(result.parent.id)) == [("succeeded", "Ada L.")]


def test_what_is_left_as_it_is_shown_is_the_default(person: Person, site: Site) -> None:
    result, token = begin(site)
    page = person.follow(token)
    fill(page, title=None, remark=None)
    press(page, "decline")
    assert result.get(timeout=20) == {
        "choice": "decline", "stars": 4, "title": "Untitled", "remark": "", "public": False,
        "size": "small", "on": None, "tags": [],
    }  # fmt: skip


def test_who_is_logged_in_is_not_asked_for_a_name(person: Person, site: Site) -> None:
    result, token = begin(site)
    person.log_in("ada")
    page = person.follow(token)
    page.get_by_label("Stars").fill("5")
    expect(page.get_by_label("Your name")).to_have_count(0)
    press(page, "approve")
    assert decisions(site.shop.get(result.parent.id)) == [("succeeded", "ada")]


def test_a_person_fails_it_and_says_why(person: Person, site: Site, published: Path) -> None:
    result, token = begin(site, site.shop.render)
    page = person.follow(token)
    page.get_by_label("Your name").fill("Ada L.")
    page.get_by_role("button", name="Fail").click()
    reason = page.get_by_label("Reason, if it failed")
    expect(reason).to_have_accessible_description("is required")
    assert is_open(site, result)
    reason.fill(REMARK)
    press(page, "Fail")
    with pytest.raises(ExternalJobFailed, match="Very blue"):
        result.parent.get(timeout=20)
    job = site.shop.get(result.parent.id)
    assert (job.reason, decisions(job)) == (REMARK.strip(), [("failed", "Ada L.")])
    assert job.id not in published.read_text()


# --- Wrong input ----------------------------------------------------------------------------------


def test_the_browser_tells_of_what_it_knows_to_be_wrong(person: Person, site: Site) -> None:
    result, token = begin(site)
    page = person.follow(token)
    asked = len(person.urls)
    fill(page, stars="9", name="")
    for button in ("approve", "decline"):
        page.get_by_role("button", name=button).click()
        expect(page.get_by_label("Stars")).to_be_focused()
    wrong = page.locator("input:invalid").evaluate_all("found => found.map(one => one.name)")
    assert wrong == ["stars", "by"]
    assert (len(person.urls), is_open(site, result)) == (asked, True)


def test_the_servers_problems_stand_beside_the_fields(person: Person, site: Site) -> None:
    result, token = begin(site)
    page = person.follow(token)
    expect(page.get_by_label("Stars")).to_have_accessible_description("One to five")
    fill(page, stars="9", title="SKY", name="")
    page.get_by_label("Public").check()
    page.get_by_label("Size").select_option("large")
    page.get_by_label("Tags").fill("no JSON")
    # A browser that knows less, or one that somebody has meddled with.
    page.locator("form").evaluate("form => { form.noValidate = true }")
    page.get_by_role("button", name="approve").click()
    problems = {
        "Stars": "Input should be less than or equal to 5",
        "Title": "Value error, please do not shout",
        "Tags": "Input should be a valid array",
        "Your name": "must have 1 to 255 characters",
    }
    helps = {"Stars": "One to five", "Tags": "A list, in JSON"}
    for label, words in problems.items():
        field, problem = page.get_by_label(label), page.get_by_text(words, exact=True)
        expect(field).to_have_attribute("aria-invalid", "true")
        expect(field).to_have_accessible_description(f"{helps.get(label, '')} {words}".strip())
        assert (gap(field, problem) < 10, style(problem, "color")) == (True, RED)
    assert page.locator("[aria-invalid]").count() == page.locator(".problem").count() == 4
    # Nothing that was typed is lost.
    typed = {
        "Stars": "9", "Title": "SKY", "Remark": REMARK, "Size": "large", "On": "",
        "Tags": "no JSON", "Your name": "",
    }  # fmt: skip
    assert {label: page.get_by_label(label).input_value() for label in typed} == typed
    expect(page.get_by_label("Public")).to_be_checked()
    assert is_open(site, result)

    fill(page, remark=None)
    page.get_by_label("Tags").fill("[]")
    press(page, "approve")
    answer = result.get(timeout=20)
    assert (answer["title"], answer["remark"], answer["size"]) == ("Sky", REMARK, "large")


# --- To look, and to look again -------------------------------------------------------------------


def test_to_open_a_link_changes_nothing(person: Person, site: Site) -> None:
    result, token = begin(site)
    before = site.shop.get(result.parent.id)
    mail = person.context.new_page()
    with mail.expect_event("requestfinished", lambda request: request.url == site.url(token)):
        mail.set_content(f'<link rel="prefetch" href="{site.url(token)}">')
    page = person.follow(token)
    page.reload()
    page.goto("about:blank")
    page.go_back()
    expect(page.get_by_role("button", name="approve")).to_be_visible()
    assert person.urls.count(site.url(token)) == 4
    assert site.shop.get(result.parent.id) == before


def test_to_send_it_again_changes_nothing(person: Person, site: Site, published: Path) -> None:
    result, token = begin(site)
    page, other = person.follow(token), person.follow(token)
    for tab in (page, other):
        fill(tab)
    press(page, "approve")
    answer = result.get(timeout=20)

    page.reload()
    expect(page.get_by_text("had been recorded before")).to_be_visible()
    press(other, "decline", "Already decided")
    page.go_back()
    expect(page.get_by_text("This is over: succeeded by Ada L. on 20")).to_be_visible()
    expect(page.locator("form")).to_have_count(0)

    job = site.shop.get(result.parent.id)
    assert (job.result, job.settled) == (answer, True)
    assert decisions(job) == [("succeeded", "Ada L."), ("refused", "Ada L.")]
    assert published.read_text().split().count(job.id) == 1


# --- By keyboard ----------------------------------------------------------------------------------


def test_a_page_needs_no_mouse(person: Person, site: Site) -> None:
    result, token = begin(site)
    page = person.follow(token)
    pressed = {
        "Stars": "4", "Title": "!", "Remark": "Fine", "Public": " ", "Size": "l", "On": "01022026",
        "Tags": "", "Your name": "Ada L.",
    }  # fmt: skip
    for label, keys in pressed.items():
        reach(page, page.get_by_label(label))
        page.keyboard.type(keys)
    # Return in an input or on a tick would be the first button's, and nobody has chosen it.
    for label in ("Your name", "Public"):
        page.get_by_label(label).focus()
        page.keyboard.press("Enter")
        expect(page.locator("form")).to_contain_text("must be one of approve, decline")
    assert site.shop.get(result.parent.id).is_open
    page.get_by_label("Your name").focus()
    reach(page, page.get_by_role("button", name="approve"))
    reach(page, page.get_by_role("button", name="decline"))
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading")).to_have_text("Recorded")
    assert result.get(timeout=20) == {
        "choice": "decline", "stars": 4, "title": "!", "remark": "Fine", "public": True,
        "size": "large", "on": "2026-01-02", "tags": [],
    }  # fmt: skip


# --- Whatever is in a job -------------------------------------------------------------------------

RUN = "console.log('it runs')"
ATTACKS = (
    f"<script>{RUN}</script>",
    f'"><img src onerror="{RUN}">',
    f'</textarea></title></style><svg onload="{RUN}"></svg>',
)
ATTACK = "".join(ATTACKS)
BEYOND = """
<style>h1 { display: none }</style><base href="https://evil.example">
<script src="https://evil.example/x"></script><img src="https://evil.example/x">
"""


def test_nothing_of_a_job_runs(person: Person, site: Site) -> None:
    anywhere = person.context.new_page()
    anywhere.set_content(ATTACK)
    assert person.hear(anywhere, len(ATTACKS)) == ["it runs"] * len(ATTACKS)

    meta = {ATTACK: {ATTACK: ATTACK}}
    result, token = begin(site, text=ATTACK, shadow=ATTACK, labels=[ATTACK], meta=meta)
    page = person.follow(token)
    expect(page).to_have_title(ATTACK)
    expect(page.get_by_role("heading")).to_have_text(ATTACK)
    expect(page.locator("dd").last).to_have_text(ATTACK)
    fill(page, title="<SCRIPT>", remark=ATTACK, name=ATTACK)
    page.get_by_role("button", name="approve").click()
    expect(page.get_by_text("please do not shout")).to_be_visible()
    fill(page, title="<script>", remark=None, name=ATTACK)
    press(page, "approve")
    assert result.get(timeout=20)["remark"] == ATTACK
    page = person.follow(token)
    expect(page.get_by_text("This is over")).to_contain_text(f"by {ATTACK} on 20")


def test_the_policy_holds_where_the_templates_do_not(person: Person, site: Site) -> None:
    def spoil(route: Route) -> None:
        response = route.fetch()
        body = response.text().replace("<main>", f"<main>{ATTACK}{BEYOND}")
        route.fulfill(response=response, body=body)

    _, token = begin(site)
    person.context.route(site.url(token), spoil)
    page = person.follow(token)
    heard = person.hear(page, len(ATTACKS) + 4)
    assert [one for one in heard if "violates the following Content Security" not in one] == []
    assert len(heard) == len(ATTACKS) + 4
    expect(page.get_by_role("heading")).to_be_visible()
    assert style(page.locator("body"), "maxWidth") == WIDTH


def test_no_other_site_can_frame_a_page(person: Person, site: Site) -> None:
    _, token = begin(site)
    page = person.context.new_page()
    page.set_content(f'<iframe src="{site.url(token)}"></iframe>')
    (heard,) = person.hear(page, 1)
    assert "frame-ancestors 'none'" in heard
    expect(page.frame_locator("iframe").get_by_role("button", name="approve")).to_have_count(0)


def test_a_page_is_as_narrow_as_a_phone(person: Person, site: Site) -> None:
    word = "x" * 255
    _, token = begin(site, text=word, shadow=word, labels=[word], meta={word: word})
    page = person.follow(token)
    page.set_viewport_size({"width": 320, "height": 600})
    assert page.evaluate("document.documentElement.scrollWidth") == 320
    fill(page, name=word)
    press(page, "approve")
    page = person.follow(token)
    page.set_viewport_size({"width": 320, "height": 600})
    expect(page.get_by_text("This is over")).to_contain_text(word)
    assert page.evaluate("document.documentElement.scrollWidth") == 320


# --- What they do ---------------------------------------------------------------------------------


def begin(site: Site, task: Any = None, *, text: str = "a sky", **options: Any) -> tuple[Any, str]:
    """A chain whose first step waits for somebody: its result, and the token of the link."""
    shop = site.shop
    first = (task or shop.approve).s(text).set(**options)
    result: Any = chain(first, shop.publish.s()).apply_async()
    shop.wait_state(result.parent.id, "PARKED")
    return result, shop.token(result.parent.id, "decide")


def fill(
    page: Page,
    *,
    stars: str = "4",
    title: str | None = "Sky",
    remark: str | None = REMARK,
    name: str = "Ada L.",
) -> None:
    """Type an answer."""
    typed = {"Stars": stars, "Title": title, "Remark": remark, "Your name": name}
    for label, text in typed.items():
        if text is not None:
            page.get_by_label(label).fill(text)


def is_open(site: Site, result: Any) -> bool:
    """Whether the first step still waits."""
    return site.shop.get(result.parent.id).state == "PARKED"


def decisions(job: Job) -> list[tuple[str, str | None]]:
    """What its history says was said, and by whom."""
    return [(line.event, line.by) for line in job.history]
