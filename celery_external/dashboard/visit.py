"""One request of somebody who was let in: what they ask for, and what they may do."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from celery_external.extension import External
from celery_external.webhooks.bodies import read_pairs
from celery_external.webhooks.exchange import RefusedError

from .access import Access
from .exchange import Request
from .forgery import check_form, check_origin, form_key

if TYPE_CHECKING:
    from celery import Celery


@dataclass(frozen=True, slots=True)
class Visit:
    """A request, and whoever makes it.

    Attributes:
        keys: What their forms are signed with.
        hindrance: Why nobody can decide anything here; None: whoever may, can.
    """

    external: External
    request: Request
    access: Access
    keys: Sequence[str]
    hindrance: str | None

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self.external.app

    @property
    def user(self) -> str:
        """Who it is."""
        return self.access.user

    @property
    def may_decide(self) -> bool:
        """Whether the page has forms."""
        return self.access.may_decide and self.hindrance is None

    @property
    def key(self) -> str | None:
        """What a form carries; None: there are none."""
        return form_key(self.keys, self.user) if self.may_decide else None

    def link(self, path: str, /, **query: str | int) -> str:
        """The URL of a page."""
        return f"{self.request.root}{path}{'?' if query else ''}{urlencode(query)}"

    def read_form(self) -> list[tuple[str, str]]:
        """What a form sent, which was theirs to send.

        Raises:
            RefusedError: 403: it was not; 422: it is none.
        """
        if not self.may_decide:
            raise RefusedError(403, "read_only")
        check_origin(self.request)
        pairs = read_pairs(self.request)
        check_form(self.keys, next((v for k, v in pairs if k == "key"), ""), self.user)
        return pairs
