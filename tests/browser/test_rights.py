"""Every control of the dashboard without the right: it is not there, and what it sends is refused.

What there is, and what it sends, is asked of the pages of somebody who has the right.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect

from celery_external.dashboard.forgery import form_key
from celery_external.dashboard.server import DashboardServer
from tests.adapters.site import Site
from tests.browser.controls import REQUESTS, deciding, fetch, follow, names, send, stops
from tests.browser.visitor import Visitor, lines
from tests.callers import KEY

#: As much as every form needs to count.
READY = """() => {
  for (const one of document.querySelectorAll("textarea[name=external-reason]")) one.value = "no";
  for (const one of document.querySelectorAll("[name=amount]")) one.value = "1";
  for (const one of document.querySelectorAll("[name=stars]")) one.value = "4";
  for (const one of document.querySelectorAll("[name=pick]")) one.checked = true;
}"""
WORDS = ("approve", "decline", "extend", "cancel", "rerun")


def requests_of(page: Page) -> list[Any]:
    """What each button of its forms would send, so that it counts."""
    page.evaluate(READY)
    found: list[Any] = page.evaluate(REQUESTS)
    return found


def said_in(request: Any) -> str:
    """What a request wants to be done: the URL has it on a job's page, a field in the list."""
    url, given = request
    found = re.search("&do=([a-z]+)", url)
    return f"one: {found[1]}" if found else f"many: {dict(given)['do']}"


def test_who_may_only_look_has_none_and_can_send_none(
    ada: Visitor, bob: Visitor, site: Site, paths: dict[str, str]
) -> None:
    pages = [name for name in paths if "live" not in name and name != "no job"]
    jobs = {name: paths[name].partition("=")[2] for name in pages if name.startswith("job")}
    before = {job_id: site.shop.get(job_id) for job_id in jobs.values()}
    sent: set[str] = set()
    for name in pages:
        page, seen = ada.go(paths[name]), bob.go(paths[name])
        assert set(names(seen)) == set(names(page)) - deciding(page), name
        assert deciding(seen) == set()
        # With a key that is bob's own, and with one that is somebody's who may.
        for user in ("bob", "ada"):
            requests = requests_of(page)
            assert set(send(seen, requests, form_key([KEY], user))) <= {403}
            sent.update(map(said_in, requests))
    assert sent - {"many: "} == {f"{how}: {word}" for how in ("one", "many") for word in WORDS}
    assert {job_id: site.shop.get(job_id) for job_id in before} == before
    # The same counts from who has the right.
    page = ada.go(paths["job"])
    extension = [one for one in requests_of(page) if said_in(one) == "one: extend"][-1:]
    assert send(page, extension, form_key([KEY], "ada")) == [200]
    assert lines(site, jobs["job"])[-1] == ("extended", "ada", "no")


@pytest.fixture
def nobody(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Somebody whom the site does not know."""
    with browser.new_context(locale="en-US") as context:
        made = Visitor(context, site)
        context.clear_cookies()
        yield made
        made.check()


def test_who_may_not_even_look_sees_nothing(
    ada: Visitor, nobody: Visitor, site: Site, paths: dict[str, str]
) -> None:
    job_id = paths["job"].partition("=")[2]
    before, asked = site.shop.get(job_id), set[str]()
    for name, path in paths.items():
        page = ada.go(path)
        links = page.locator("a[href^='/']").evaluate_all("all => all.map(one => one.href)")
        seen = nobody.go(path)
        expect(seen.get_by_role("heading")).to_have_text("Not for you")
        assert set(names(seen)) == {"link #main"}, name
        # Where each link leads, and what each button sends.
        assert set(fetch(seen, sorted(set(links) - asked))) <= {403}
        asked.update(links)
        assert set(send(seen, requests_of(page), form_key([KEY], "ada"))) <= {403}
    assert len(asked) > len(paths)
    assert site.shop.get(job_id) == before


def test_the_server_of_one_persons_own(browser: Browser, site: Site) -> None:
    with DashboardServer(site.shop.app, port=0, by="ada") as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.02,))
        thread.start()
        try:
            enter(browser, server.url, f"http://127.0.0.1:{server.server_port}/jobs")
        finally:
            server.shutdown()
            thread.join()


def enter(browser: Browser, url: str, other_url: str) -> None:
    """Go in by the one control of the page; nobody else can."""

    def stay(route: Any) -> None:
        answer = route.fetch()
        kept = {name: text for name, text in answer.headers.items() if name.lower() != "refresh"}
        route.fulfill(response=answer, headers=kept)

    with browser.new_context() as context, browser.new_context() as other:
        page = context.new_page()
        # The page goes on by itself, sooner than anybody presses anything.
        page.route("**/open/*", stay)
        page.goto(url)
        assert names(page) == list(stops(page)) == ["link /"]
        follow(page, "link /")
        expect(page.get_by_role("heading", name="Overview")).to_be_visible()
        page = other.new_page()
        for one in (url, other_url):
            page.goto(one)
            expect(page.get_by_role("heading")).to_have_text("Not for you")
            assert names(page) == []
