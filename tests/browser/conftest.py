"""A browser, and a site for it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect, sync_playwright

from tests.adapters.conftest import gunicorn, running_shop, urls_of
from tests.adapters.site import Site
from tests.browser.person import PATIENCE, Person
from tests.browser.visitor import Visitor, begin, label, visiting, waiting
from tests.callers import KEY
from tests.conftest import skip_without

NAMES = ("chromium", "chromium-browser", "google-chrome")
SHOP = "tests.browser.shop"


# Not for the session: as long as Playwright runs, asyncio holds that a loop runs in this thread,
# and other tests begin one.
@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """The system's Chromium, without a window; where there is none the test is skipped."""
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        skip_without("chromium")
    expect.set_options(timeout=PATIENCE)
    # Without Chromium's sandbox, Playwright's default: it needs more rights than a container gives,
    # and all that is looked at is ours.
    with sync_playwright() as playwright, playwright.chromium.launch(executable_path=found) as made:
        yield made


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the shop's next steps leave a line each."""
    path = tmp_path_factory.mktemp("shop") / "published"
    path.touch()
    return path


@pytest.fixture(scope="session")
def site(
    make_broker: Callable[[str], str], make_database: Callable[[str], str], published: Path
) -> Iterator[Site]:
    """The shop by gunicorn, its worker running."""
    urls = urls_of(make_broker, make_database("SQLite"))
    env = {**urls, "SHOP_SECRET": KEY, "PUBLISHED": str(published)}
    with (
        running_shop(env, SHOP, SHOP) as shop,
        gunicorn("shop", f"{SHOP}:web", shop, env) as made,
    ):
        yield made


@pytest.fixture
def person(browser: Browser, site: Site) -> Iterator[Person]:
    """Somebody whom the site does not know yet."""
    with browser.new_context(locale="en-US") as context:
        context.set_default_timeout(PATIENCE)
        made = Person(context, site)
        yield made
        made.check()


@pytest.fixture
def ada(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Somebody who may decide."""
    yield from visiting(browser, site, "ada")


@pytest.fixture
def bob(browser: Browser, site: Site) -> Iterator[Visitor]:
    """Somebody who may only look."""
    yield from visiting(browser, site, "bob")


@pytest.fixture(scope="session")
def paths(site: Site) -> dict[str, str]:
    """Pages that have between them all that the dashboard shows."""
    name, shop = label(), site.shop
    chained = begin(site, labels=[name], meta={"long": "x" * 5000})
    job_id = chained.parent.id
    shop.external.extend_job(job_id, timeout=3600, by="ada", reason="x" * 5000)
    shop.external.rerun_job(job_id, by="ada")
    shop.wait_state(job_id, "PARKED")
    shop.external.signal_progress(job_id, 1, 2, "frames")
    related = waiting(site, "approve", root_id=job_id, parent_id=job_id)
    for _ in range(25):
        waiting(site, "render", labels=[name])
    over = waiting(site, "render")
    shop.external.signal_failed(over, "no", by="ada")
    return {
        "overview": "/",
        "overview, live": "/?hours=1&live=1",
        "list": f"/jobs?label={name}&limit=25",
        "list, live": f"/jobs?label={name}&limit=25&live=1",
        "job": f"/job?id={job_id}",
        "job, live": f"/job?id={job_id}&live=1",
        "job that is asked": f"/job?id={related}",
        "job that is rated": f"/job?id={waiting(site, 'rate')}",
        "job that is over": f"/job?id={over}",
        "no job": "/job?id=nobody",
    }
