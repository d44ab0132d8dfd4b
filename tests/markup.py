"""A page as a browser understands it: its form, its words, and what it would run or load."""

from __future__ import annotations

from html.parser import HTMLParser
from typing import Any

from celery_external.webhooks import Response
from tests.callers import SAFE

#: What a page of ours is made of; nothing of it runs or loads anything.
TAGS = {
    "html", "head", "meta", "title", "style", "body", "main", "h1", "p", "dl", "dt", "dd", "form",
    "input", "label", "textarea", "select", "option", "button",
}  # fmt: skip
VOID = {"meta", "input", "link", "br"}


class Markup(HTMLParser):
    """HTML whose elements are closed, each where it was opened."""

    def __init__(self, body: bytes) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self._open: list[tuple[str, dict[str, str | None]]] = []
        self.feed(body.decode())
        self.close()
        assert self._open == [], "a tag is not closed"

    def begin(self, tag: str, given: dict[str, str | None]) -> None:
        """Take note of an element."""

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        """Enter it."""
        given = dict(attrs)
        assert len(given) == len(attrs), "an attribute is there twice"
        self.tags.append((tag, given))
        if tag not in VOID:
            self._open.append((tag, given))
        self.begin(tag, given)

    def handle_endtag(self, tag: str) -> None:
        """Leave it."""
        assert self._open.pop()[0] == tag


class Page(Markup):
    """What stands in a page."""

    def __init__(self, body: bytes) -> None:
        self.text = ""
        #: What the form sends as it is shown: by name, without the buttons.
        self.fields: dict[str, str] = {}
        #: The buttons: what each sends, and its words.
        self.buttons: dict[tuple[str, str], str] = {}
        self._select = ""
        super().__init__(body)

    def begin(self, tag: str, given: dict[str, str | None]) -> None:
        """Take note of a form's input."""
        name = given.get("name") or ""
        if tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            self.fields[name] = given.get("value", "on") or ""
        elif tag == "textarea":
            self.fields[name] = ""
        elif tag == "select":
            self._select = name
        elif tag == "option" and (self._select not in self.fields or "selected" in given):
            self.fields[self._select] = given.get("value") or ""

    def handle_data(self, data: str) -> None:
        """Take note of words."""
        tag, given = self._open[-1] if self._open else ("", {})
        if tag == "textarea":
            # A browser drops the first line's end.
            self.fields[given["name"] or ""] += data.removeprefix("\n")
        elif tag == "button" and "hidden" not in given:
            self.buttons[given["name"] or "", given["value"] or ""] = data
        if tag != "style":
            self.text += data

    def find(self, name: str) -> dict[str, str | None]:
        """The attributes of the element of this name."""
        (found,) = [given for _, given in self.tags if given.get("name") == name]
        return found

    def check_harmless(self) -> None:
        """It has nothing in it that runs, loads or leads elsewhere."""
        assert {tag for tag, _ in self.tags} <= TAGS
        for tag, given in self.tags:
            assert not [name for name in given if name.startswith("on")], (tag, given)
            assert not given.keys() & {"src", "href", "action", "formaction", "style"}, (tag, given)
            assert "http-equiv" not in given


def page_of(response: Response, status: int = 200) -> Page:
    """The page, which is safe whatever it shows."""
    assert response.status == status, response.body
    nonce = response.headers["Content-Security-Policy"].partition("'nonce-")[2].partition("'")[0]
    style = f"default-src 'none'; style-src 'nonce-{nonce}'; "
    policy = SAFE["Content-Security-Policy"].replace("default-src 'none'; ", style)
    assert response.headers.items() >= {**SAFE, "Content-Security-Policy": policy}.items()
    assert response.headers["Content-Type"] == "text/html; charset=utf-8"
    page = Page(response.body)
    page.check_harmless()
    assert [given for tag, given in page.tags if tag == "style"] == [{"nonce": nonce}]
    return page


def answered(response: Response, status: int) -> str:
    """The words of a page that has nothing to decide."""
    page = page_of(response, status)
    assert (page.fields, page.buttons) == ({}, {})
    return " ".join(page.text.split())
