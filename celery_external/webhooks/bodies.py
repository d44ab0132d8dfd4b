"""Bodies of requests: refused by size and type, then parsed."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

from celery_external import strict_json

from .exchange import RefusedError, Request

#: Of a page's form: more are nobody's.
_MAX_FIELDS = 256


def check_size(request: Request, max_body: int) -> None:
    """Refuse what is too large to be looked at.

    Raises:
        RefusedError: 413.
    """
    if len(request.body) > max_body:
        raise RefusedError(413, "too_large", max_body=max_body)


def read_json(request: Request) -> Any:
    """The JSON that was sent; None for an empty body.

    Raises:
        RefusedError: 415 for another type, 422 for what is not JSON.
    """
    media_type = request.media_type
    if media_type != "application/json" and not media_type.endswith("+json"):
        raise RefusedError(415, "media_type", wanted="application/json")
    if not request.body.strip():
        return None
    try:
        return strict_json.load(request.body)
    except ValueError as exc:
        raise RefusedError(422, "invalid", problem=f"The body is no JSON: {exc}") from exc


def read_form(request: Request) -> dict[str, str]:
    """What a page's form sent.

    Raises:
        RefusedError: 422 for what no page of ours sends.
    """
    pairs = read_pairs(request)
    found = dict(pairs)
    if len(found) < len(pairs):
        raise RefusedError(422, "invalid", problem="A field is there twice")
    return found


def read_pairs(request: Request) -> list[tuple[str, str]]:
    """What a page's form sent, where a field may be there several times.

    Raises:
        RefusedError: 422 for what is no form.
    """
    try:
        return parse_qsl(
            request.body.decode(), keep_blank_values=True, errors="strict",
            max_num_fields=_MAX_FIELDS, strict_parsing=bool(request.body),
        )  # fmt: skip
    except ValueError as exc:
        raise RefusedError(422, "invalid", problem="The body is no form") from exc
