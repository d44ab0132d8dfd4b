"""Somebody at the dashboard in a browser, and the jobs that they find there."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

from celery import chain
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from celery_external import ExternalTask
from tests.adapters.site import Site
from tests.browser.person import PATIENCE, Person
from tests.rows import ask


class Visitor(Person):
    """Somebody who is logged in and looks at the dashboard."""

    def __init__(self, context: BrowserContext, site: Site, name: str = "ada") -> None:
        super().__init__(context, site)
        self.log_in(name)
        self.page = context.new_page()

    def go(self, path: str = "/") -> Page:
        """Open a page of the dashboard."""
        self.page.goto(f"{self.site.base}/dashboard{path}")
        return self.page

    def open(self, job_id: str) -> Page:
        """Open a job's page by its id, as it is typed."""
        page = self.go("/jobs") if "/dashboard" not in self.page.url else self.page
        page.get_by_label("Job id").fill(job_id)
        page.keyboard.press("Enter")
        expect(page.get_by_role("heading", name="What it is")).to_be_visible()
        return page

    def form(self, name: str) -> Locator:
        """One of a job's forms, unfolded."""
        form = self.page.get_by_role("form", name=name)
        if not form.is_visible():
            self.page.locator("summary", has_text=re.compile(f"^{name}$")).click()
        return form


def visiting(browser: Browser, site: Site, name: str, **options: Any) -> Iterator[Visitor]:
    """Somebody with a browser of these options; no page of theirs has anything wrong with it."""
    with browser.new_context(locale="en-US", **options) as context:
        context.set_default_timeout(PATIENCE)
        made = Visitor(context, site, name)
        yield made
        made.check()


def begin(site: Site, task: Any = None, *given: str, **options: Any) -> Any:
    """A chain whose first step waits for somebody: its result."""
    first = (task or site.shop.render).s(*(given or ("a sky",))).set(**options)
    result: Any = chain(first, site.shop.publish.s()).apply_async()
    site.shop.wait_state(result.parent.id, "PARKED")
    return result


def waiting(site: Site, task: str, **options: Any) -> str:
    """A job that is open, and that no worker changes."""
    make = site.shop.app.task(base=ExternalTask, shared=False, name=f"tests.browser.shop.{task}")
    job_id: str = make(ask).apply_async(("x",), queue="nobody's", **options).id
    return job_id


def label() -> str:
    """A label that no other test has."""
    return f"label {uuid4().hex[:8]}"


def lines(site: Site, job_id: str) -> list[tuple[str, str | None, str | None]]:
    """What its history says was said, by whom and why."""
    return [(one.event, one.by, one.reason) for one in site.shop.get(job_id).history]
