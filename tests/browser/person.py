"""A person with a browser, which takes note of all that the pages ask for and complain about."""

from __future__ import annotations

import re

from playwright.sync_api import BrowserContext, Locator, Page, Request, expect

from tests.adapters.site import Site

#: Milliseconds.
PATIENCE = 20_000
#: What a browser logs of an answer that is no error of the page.
_STATUS = re.compile(r"Failed to load resource: the server responded with a status of 4\d\d ")


class Person:
    """Somebody who follows links."""

    def __init__(self, context: BrowserContext, site: Site) -> None:
        self.context = context
        self.site = site
        #: What was asked for, and not held back by a page's policy.
        self.urls: list[str] = []
        #: What the browser's console has.
        self.complaints: list[str] = []
        context.on("request", lambda request: self.urls.append(request.url))
        context.on("requestfailed", self._note_failed)
        context.on("console", lambda message: self._note(message.text))
        context.on("weberror", lambda failure: self._note(str(failure.error)))

    def log_in(self, name: str) -> None:
        """Be known to the site."""
        page = self.context.new_page()
        page.goto(f"{self.site.base}/login/{name}")
        page.close()

    def follow(self, token: str) -> Page:
        """Open a link, in a tab of its own."""
        page = self.context.new_page()
        page.goto(self.site.url(token))
        return page

    def check(self) -> None:
        """Nothing was asked for elsewhere, and no page had anything wrong with it."""
        assert [url for url in self.urls if not url.startswith(f"{self.site.base}/")] == []
        assert self.complaints == []

    def hear(self, page: Page, number: int) -> list[str]:
        """Wait for so many complaints, which are expected."""
        while len(self.complaints) < number:
            page.wait_for_event("console")
        heard, self.complaints[:] = self.complaints[:], []
        return heard

    def _note_failed(self, request: Request) -> None:
        if request.failure == "csp":
            self.urls.remove(request.url)

    def _note(self, text: str) -> None:
        if not _STATUS.match(text):
            self.complaints.append(text)


def press(page: Page, button: str, heading: str = "Recorded") -> None:
    """Press a button, and see the page that comes."""
    page.get_by_role("button", name=button).click()
    expect(page.get_by_role("heading")).to_have_text(heading)


def reach(page: Page, element: Locator) -> None:
    """Go on with the tab key until the element has the focus, and shows it."""
    for _ in range(4):  # a date has three parts
        page.keyboard.press("Tab")
        if element.evaluate("element => element === document.activeElement"):
            break
    expect(element).to_be_focused()
    assert element.evaluate("element => element.matches(':focus-visible')")
    assert style(element, "outlineStyle") != "none"


def style(element: Locator, name: str) -> str:
    """How it looks."""
    value: str = element.evaluate("(element, name) => getComputedStyle(element)[name]", name)
    return value


def gap(above: Locator, below: Locator) -> float:
    """How far below the one the other is, in pixels."""
    upper, lower = above.bounding_box(), below.bounding_box()
    assert upper is not None
    assert lower is not None
    distance = lower["y"] - upper["y"] - upper["height"]
    assert distance >= 0
    return distance
