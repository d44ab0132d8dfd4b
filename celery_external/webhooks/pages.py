"""Pages for people, made of the templates; without a script, and safe whatever a job contains."""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from datetime import datetime
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from celery_external.errors import OptionError

from .exchange import Answer, Response, respond

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
    # What the database keeps may have lone surrogates in it, which no page can show.
    body = page.encode(errors="replace")
    return respond(status, body, "text/html; charset=utf-8", headers, nonce=nonce)


@cache
def _environment() -> Environment:
    try:
        # Only who shows a page needs it.
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    except ImportError as exc:
        raise OptionError(
            "Receiver",
            "its pages need jinja2, which celery-external[flask], [django] and [fastapi] bring: "
            'pip install "celery-external[django]"',
        ) from exc
    environment = Environment(
        loader=PackageLoader("celery_external"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {"moment": _moment, "value": _value}
    return environment


def _moment(value: datetime | str) -> str:
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{at:%Y-%m-%d %H:%M} UTC"


def _value(value: Any) -> str:
    """JSON for people."""
    if isinstance(value, str):
        return value
    return json.dumps(value, ensure_ascii=False, indent=2)
