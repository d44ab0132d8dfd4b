"""What of a page can be followed, pressed, typed into, ticked or unfolded, and how by keyboard."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from playwright.sync_api import Locator, Page, expect

FOUND = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex='0']"
#: A control's name: where it leads, what it unfolds, or its form's name and its own; without what
#: differs from run to run.
NAME = r"""element => {
  const text = element.textContent.trim();
  if (element.tagName === "A") {
    const differ = ["label", "after", "id", "root_id"];
    const query = [...new URLSearchParams(element.search)].sort()
      .map(([key, value]) => `${key}=${differ.includes(key) ? "*" : value}`).join("&");
    const path = element.pathname.replace(/^\/dashboard/, "");
    return `link ${element.hash || (query ? `${path}?${query}` : path)}`;
  }
  if (element.tagName === "SUMMARY") {
    const isValue = element.parentElement.className === "fold" && text !== "Details";
    return `fold ${isValue ? "a long value" : text}`;
  }
  if (!element.form && !element.name) return `place ${element.getAttribute("aria-labelledby")}`;
  const form = element.form ? element.form.getAttribute("aria-label") : "";
  if (element.tagName === "BUTTON") return `${form}: [${text || "Return"}]`;
  return `${form}: ${element.name || element.id}`;
}"""
_NAMES = f"elements => elements.map({NAME})"
_ACTIVE = f"""() => {{
  const element = document.activeElement, all = [...document.querySelectorAll(`{FOUND}`)];
  const place = all.indexOf(element);
  return place < 0 ? null : [place, ({NAME})(element), getComputedStyle(element).outlineStyle];
}}"""
#: Sent by a form that counts, or there for one: its fields, its buttons, what unfolds it.
_DECIDING = f"""elements => elements.filter(
  one => one.form && one.form.method === "post" || one.matches("details.form > summary")
).map({NAME})"""
#: Pressed as they are: a key's name is no text.
_KEYS = {"ArrowRight", "Control+A"}


def names(page: Page) -> list[str]:
    """All controls that are there, shown or not."""
    found: list[str] = page.locator(FOUND).evaluate_all(_NAMES)
    return found


def deciding(page: Page) -> set[str]:
    """Those that only somebody with the right needs."""
    return set(page.locator(FOUND).evaluate_all(_DECIDING))


def hidden(page: Page) -> set[str]:
    """Those that nobody sees."""
    is_hidden = f"elements => elements.filter(one => !one.checkVisibility()).map({NAME})"
    return set(page.locator(FOUND).evaluate_all(is_hidden))


def stops(page: Page, *, most: int = 400) -> Iterator[str]:
    """Go on with the tab key, from where the focus is to the page's end; each shows the focus.

    A stop may be at the same control again: a date has several parts.
    """
    last = -1
    for _ in range(most):
        page.keyboard.press("Tab")
        found = page.evaluate(_ACTIVE)
        # What scrolls is a stop of the browser's own.
        if found is None and page.evaluate("document.activeElement !== document.body"):
            continue
        if found is None or found[0] < last:
            return
        place, name, outline = found
        # The inner parts of a date show the focus themselves.
        assert outline != "none" or place == last, name
        last = place
        yield name
    raise AssertionError("the page has no end")


def find(page: Page, name: str) -> Locator:
    """The first control of this name; unfolded, if it is folded away."""
    control = page.locator(FOUND).nth(names(page).index(name))
    # From the outermost on.
    folds = control.locator("xpath=ancestor::details[not(@open)]/summary")
    while folds.count() and not control.is_visible():
        folds.first.focus()
        page.keyboard.press("Enter")
    return control


def type_into(page: Page, keys: str) -> None:
    """Type what has the focus full; a select takes the beginning of an option, a tick a space."""
    for part in keys.split("|"):
        if part in _KEYS:
            page.keyboard.press(part)
        else:
            page.keyboard.type(part)


def fill(page: Page, form: str, typed: Mapping[str, str], button: str) -> set[str]:
    """By the tab key through a form: type into its fields and press the button; what was typed.

    The focus is in front of the form, or in it. What is folded is unfolded.
    """
    done: set[str] = set()
    for name in stops(page):
        unfold(page, name)
        field = name.removeprefix(f"{form}: ")
        if name == f"{form}: [{button}]":
            page.keyboard.press("Enter")
            return done
        if field != name and field not in done and field in typed:
            done.add(field)
            type_into(page, typed[field])
    raise AssertionError(f"{form} has no {button}")


def unfold(page: Page, name: str) -> None:
    """Open what has the focus, if it is a fold that is closed."""
    if name.startswith("fold ") and not page.evaluate("document.activeElement.parentElement.open"):
        page.keyboard.press("Enter")


def fields(page: Page, form: str) -> set[str]:
    """The fields of a form."""
    prefix = f"{form}: "
    own = {name.removeprefix(prefix) for name in names(page) if name.startswith(prefix)}
    return {name for name in own if not name.startswith("[")}


def follow(page: Page, name: str) -> None:
    """Follow a link by the return key, to where it says it leads."""
    link = find(page, name)
    href = link.evaluate("element => element.href")
    link.focus()
    with page.expect_navigation() as arrived:
        page.keyboard.press("Enter")
    expect(page).to_have_url(href)
    assert arrived.value.ok, href


#: What each button of a page's forms would send, as the page stands.
REQUESTS = """() => [...document.forms].filter(form => form.method === "post").flatMap(
  form => [...form.querySelectorAll("button")].map(
    button => [form.action, [...new FormData(form, button)].filter(([name]) => name !== "key")]
  )
)"""
_SEND = """([requests, key]) => Promise.all(requests.map(
  ([url, fields]) => fetch(url, {
    method: "POST", body: new URLSearchParams([...fields, ["key", key]])
  }).then(response => response.status)
))"""
_FETCH = "urls => Promise.all(urls.map(url => fetch(url).then(response => response.status)))"


def send(page: Page, requests: Sequence[Any], key: str) -> list[int]:
    """Send them by hand, from a page of the site; the answers' statuses."""
    found: list[int] = page.evaluate(_SEND, [requests, key])
    return found


def fetch(page: Page, urls: Sequence[str]) -> list[int]:
    """Ask for them likewise."""
    found: list[int] = page.evaluate(_FETCH, urls)
    return found
