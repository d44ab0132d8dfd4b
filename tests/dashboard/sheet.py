"""A page of the dashboard as a browser understands it: its forms, links, and words."""

from __future__ import annotations

from dataclasses import dataclass, field

from celery_external.webhooks import Response
from tests.markup import Markup

#: What a page of ours is made of.
TAGS = {
    "html", "head", "meta", "title", "link", "script", "body", "a", "header", "nav", "main",
    "section", "div", "form", "label", "input", "textarea", "select", "option", "button",
    "fieldset", "legend", "h1", "h2", "h3", "p", "span", "strong", "ul", "ol", "li", "dl", "dt",
    "dd", "details", "summary", "pre", "code", "table", "caption", "thead", "tbody", "tr", "th",
    "td", "time", "progress", "figure", "figcaption", "svg", "desc", "text", "line", "rect",
}  # fmt: skip
POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
#: Headers that every page has.
SAFE = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "same-origin",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
    "Content-Type": "text/html; charset=utf-8",
}


@dataclass
class Form:
    """A form: where it is sent, what it sends as it is shown, and its buttons."""

    action: str
    method: str
    name: str
    fields: list[tuple[str, str]] = field(default_factory=list)
    buttons: dict[tuple[str, str], str] = field(default_factory=dict)


class Sheet(Markup):
    """What stands in a page, which is whole, and runs nothing that is not ours."""

    def __init__(self, body: bytes) -> None:
        self.forms: list[Form] = []
        self.words: list[str] = []
        self._select: tuple[str, bool] = ("", False)
        super().__init__(body)
        self._check_harmless()
        ids = [given["id"] for _, given in self.tags if "id" in given]
        assert sorted(set(ids), key=str) == sorted(ids, key=str), "an id is there twice"

    @property
    def text(self) -> str:
        """The page's words."""
        return " ".join(" ".join(self.words).split())

    @property
    def links(self) -> list[str]:
        """Where the page's links lead."""
        return [given["href"] or "" for tag, given in self.tags if tag == "a"]

    def form(self, name: str) -> Form:
        """The form of this name."""
        (found,) = [one for one in self.forms if one.name == name]
        return found

    def find(self, **attributes: str) -> dict[str, str | None]:
        """The attributes of the one element that has these."""
        wanted = {k.replace("_", "-"): v for k, v in attributes.items()}.items()
        (found,) = [given for _, given in self.tags if wanted <= given.items()]
        return found

    def count(self, tag: str, **attributes: str) -> int:
        """How many elements of the kind have these attributes."""
        wanted = {k.replace("_", "-"): v for k, v in attributes.items()}.items()
        return sum(name == tag and wanted <= given.items() for name, given in self.tags)

    def begin(self, tag: str, given: dict[str, str | None]) -> None:
        """Take note of a form, and of what is in it."""
        name, value = given.get("name") or "", given.get("value") or ""
        if tag == "button" and "disabled" not in given:
            self.forms[-1].buttons[name, value] = ""
        if tag == "form":
            self.forms.append(
                Form(
                    given.get("action") or "", given.get("method") or "get",
                    given.get("aria-label") or "",
                )
            )  # fmt: skip
        elif tag == "input" and (given.get("type") != "checkbox" or "checked" in given):
            if name:
                self.forms[-1].fields.append((name, given.get("value", "on") or ""))
        elif tag == "select":
            self._select = (name, False)
        elif tag == "option" and (not self._select[1] or "selected" in given):
            fields = self.forms[-1].fields
            if self._select[1]:
                fields.pop()
            fields.append((self._select[0], value))
            self._select = (self._select[0], True)

    def handle_data(self, data: str) -> None:
        """Take note of words."""
        tag, given = self._open[-1] if self._open else ("", {})
        if tag == "textarea":
            self.forms[-1].fields.append((given["name"] or "", data.removeprefix("\n")))
        elif tag == "button" and "disabled" not in given:
            key = (given.get("name") or "", given.get("value") or "")
            self.forms[-1].buttons[key] = data
        self.words.append(data)

    def _check_harmless(self) -> None:
        assert {tag for tag, _ in self.tags} <= TAGS
        for tag, given in self.tags:
            assert not [name for name in given if name.startswith("on")], (tag, given)
            assert not given.keys() & {"formaction", "style", "srcdoc", "http-equiv"}, (tag, given)
            for name in ("href", "src", "action", "hx-get"):
                url = given.get(name) or "/"
                assert url.startswith(("/", "#", "data:,")), (tag, given)
                assert not url.startswith("//"), (tag, given)
        assert "script" not in [tag for tag, given in self.tags if "src" not in given]


def sheet_of(response: Response, status: int = 200) -> Sheet:
    """The page, which is safe whatever it shows."""
    assert response.status == status, response.body.decode()
    assert dict(response.headers) == SAFE
    return Sheet(response.body)
