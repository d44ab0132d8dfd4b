"""What a framework hands over and gets back, and the one answer that both JSON and pages show."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

FORM: Final = "application/x-www-form-urlencoded"
#: Seconds until somebody who was sent away may ask again.
RETRY_AFTER: Final = 10

_CONTENT_POLICY = (
    "default-src 'none'; {style}form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)


@dataclass(frozen=True, slots=True)
class Request:
    """What came in, as the framework received it.

    Attributes:
        method: In capitals.
        headers: Their names in any case.
        body: As it was received. Who reads one from the network stops after
            ``Receiver.max_body`` + 1 bytes.
        by: The framework's user, if somebody is logged in: who decides, for the history.
    """

    method: str
    headers: Mapping[str, str]
    body: bytes = b""
    by: str | None = None

    def __post_init__(self) -> None:
        """Nobody has an empty name."""
        object.__setattr__(self, "by", self.by or None)

    @property
    def media_type(self) -> str:
        """The content type without its parameters, in small letters."""
        return (self.header("content-type") or "").partition(";")[0].strip().lower()

    def header(self, name: str) -> str | None:
        """A header by its name in small letters; None: it is not there."""
        return next((v for k, v in self.headers.items() if k.lower() == name), None)


@dataclass(frozen=True, slots=True)
class Response:
    """What goes back: ``headers`` has the Content-Type, and all that a page needs to be safe."""

    status: int
    body: bytes
    headers: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of a call: a status of HTTP's, a word of ours, and what there is to add."""

    status: int
    word: str
    details: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)

    def as_json(self) -> Response:
        """For machines."""
        key = "status" if self.status < 400 else "error"  # noqa: PLR2004 - HTTP's
        body = json.dumps({key: self.word, **self.details}).encode()
        return respond(self.status, body, "application/json", self.headers)


class RefusedError(Exception):
    """A call that ends here, with an answer that says how."""

    def __init__(
        self, status: int, word: str, *, headers: Mapping[str, str] | None = None, **details: Any
    ) -> None:
        super().__init__(status, word)
        self.answer = Answer(status, word, details, headers or {})


def unavailable() -> RefusedError:
    """What somebody is told who may come again: whoever is needed to answer is away."""
    return RefusedError(503, "unavailable", headers={"Retry-After": str(RETRY_AFTER)})


def answered(go: Callable[[], Response]) -> Response:
    """What ``go`` gives, or what its refusal says."""
    try:
        return go()
    except RefusedError as exc:
        return exc.answer.as_json()


def respond(
    status: int,
    body: bytes,
    content_type: str,
    headers: Mapping[str, str] | None = None,
    *,
    nonce: str | None = None,
    sources: str = "",
) -> Response:
    """A response that no browser keeps, frames, sniffs or tells other sites of.

    Arguments:
        status: HTTP's.
        body: What is answered.
        content_type: Of the body.
        headers: Go before those of every response.
        nonce: Of the page's own style.
        sources: What else the page may load, as directives of its policy.
    """
    style = f"style-src 'nonce-{nonce}'; " if nonce else sources
    safe = {
        "Content-Type": content_type,
        "Content-Security-Policy": _CONTENT_POLICY.format(style=style),
        # The token is in the URL.
        "Referrer-Policy": "no-referrer",
        "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff",
    }
    return Response(status, body, {**safe, **(headers or {})})


def respond_page(
    status: int,
    page: str,
    headers: Mapping[str, str] | None = None,
    *,
    nonce: str | None = None,
    sources: str = "",
) -> Response:
    """A page, as such a response; the arguments are those of :func:`respond`."""
    # What the database keeps may have lone surrogates in it, which no page can show.
    body = page.encode(errors="replace")
    content_type = "text/html; charset=utf-8"
    return respond(status, body, content_type, headers, nonce=nonce, sources=sources)
