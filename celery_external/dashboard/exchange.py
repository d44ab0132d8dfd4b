"""What a host hands over and gets back: the webhooks' values, and where in the dashboard it is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl

from celery_external.webhooks import exchange
from celery_external.webhooks.exchange import RefusedError, Response

__all__ = ["Request", "Response", "redirect", "respond_page"]

#: What a page may load: our own files, and nothing that stands in the page itself.
_SOURCES: Final = "style-src 'self'; script-src 'self'; connect-src 'self'; img-src 'self' data:; "
#: Of a URL's query: more are nobody's.
_MAX_FIELDS = 100
#: Characters: a longer one is no page's of ours.
_MAX_QUERY = 8192


@dataclass(frozen=True, slots=True)
class Request(exchange.Request):
    """What came in, as the host received it. Its ``by`` is not asked: ``authorize`` says who it is.

    Attributes:
        path: The URL's path below the dashboard, decoded; it begins with a slash.
        query: What stands behind the question mark.
        root: Where the dashboard is, as links begin: ``/dashboard``, or an empty text.
        host: The host's name and port, as the browser knows them.
    """

    path: str = "/"
    query: str = ""
    root: str = ""
    host: str = ""

    @property
    def pairs(self) -> list[tuple[str, str]]:
        """The query's fields, of which one may be there several times.

        Raises:
            RefusedError: 422 for what no page of ours asks.
        """
        if len(self.query) > _MAX_QUERY:
            raise RefusedError(422, "invalid", problem="The URL is too long")
        try:
            return parse_qsl(self.query, keep_blank_values=True, max_num_fields=_MAX_FIELDS)
        except ValueError as exc:
            raise RefusedError(422, "invalid", problem="The URL has too many fields") from exc


def respond_page(status: int, page: str, headers: Mapping[str, str] | None = None) -> Response:
    """A page that no browser keeps, frames, sniffs or tells other sites of."""
    # A form of ours says where it comes from, which `no-referrer` would hide from ourselves: no
    # other site is told more by this.
    policy = {"Referrer-Policy": "same-origin"}
    return exchange.respond_page(status, page, {**policy, **(headers or {})}, sources=_SOURCES)


def redirect(location: str) -> Response:
    """Have the browser get another page of ours, so that nothing is sent again by a reload."""
    return respond_page(303, "", {"Location": location})
