"""Pages for people, made of the templates; without a script, and safe whatever a job contains."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from .exchange import Answer, Response, respond_page
from .templating import make_environment, moment, write_value

if TYPE_CHECKING:
    from jinja2 import Environment

#: What became of a call, in words for people: a heading, and what to do now.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "applied": ("Recorded", "Thank you. You may close this page."),
    "duplicate": ("Recorded", "The same had been recorded before. You may close this page."),
    "conflict": ("Already decided", "Another answer came first; yours was not recorded."),
    "gone": ("Too late", "This is not waited for any more; your answer was not recorded."),
    "stale": ("Out of date", "This link belongs to an earlier attempt. A newer one counts."),
    "not_found": ("Not found", "What this link was for is not kept any more."),
    "refused": ("Not valid", "This link is not valid. It may have expired."),
    "form_key": ("Not recorded", "Please open the link again, and answer from there."),
    "invalid": ("Not recorded", "What was sent cannot be used."),
    "too_large": ("Not recorded", "What was sent is too large."),
    "unavailable": ("Not recorded", "Please try again in a moment."),
    "internal": ("Not recorded", "Something is wrong here. Please tell who sent you the link."),
}


def show_answer(answer: Answer) -> Response:
    """The page that says what became of a call."""
    title, text = _WORDS[answer.word]
    return _render(
        "answer.html",
        answer.status,
        answer.headers,
        title=title,
        text=text,
        outcome=answer.details.get("outcome"),
        problem=answer.details.get("problem"),
    )


def show_job(status: int, **context: Any) -> Response:
    """The page of a job, with a form where there is something to decide."""
    return _render("job.html", status, {}, **context)


def _render(template: str, status: int, headers: Mapping[str, str], **context: Any) -> Response:
    nonce = secrets.token_urlsafe(16)
    page = _environment().get_template(template).render(nonce=nonce, **context)
    return respond_page(status, page, headers, nonce=nonce)


@cache
def _environment() -> Environment:
    return make_environment("Receiver", "django", moment=moment, value=write_value)
