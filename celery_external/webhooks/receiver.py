"""The receiver: which call is whose, and every answer in one place."""

from __future__ import annotations

import dataclasses
import logging
import threading
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Final

from celery_external import redeeming
from celery_external.checks import check_text
from celery_external.errors import (
    DatabaseUnavailableError,
    OptionError,
    SchemaError,
    TokenRefusedError,
)
from celery_external.installation import installation_of
from celery_external.tokens import Action, Claims

from . import machines, providers
from .bodies import check_size
from .exchange import FORM, Answer, RefusedError, Request, Response, unavailable
from .outcomes import JobMapping
from .pages import show_answer
from .people import Visit
from .providers import Provider

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("celery_external")

_TO_LOOK: Final[tuple[Action, ...]] = ("succeed", "fail", "decide", "view")
_TO_SAY: Final[tuple[Action, ...]] = ("succeed", "fail", "decide")


class Receiver:
    """Takes calls from outside: with a token, or signed by a provider.

    It never raises: what goes wrong is logged and answered.

    Arguments:
        app: The Celery app. Default: the current one.
        providers: Who may call without a token, by the name in the URL.
        mapping: ``mapping(job, body)`` turns the JSON of a token's holder into Succeeded, Failed,
            Progress, or None for what does not matter. Default: the JSON is the result of a token
            to succeed, and a token to fail or to decide has JSON of its own (docs/webhooks.md).
        max_body: Bytes of a body; what is longer is refused.

    Attributes:
        forged: How many tokens and signatures were none, since this process began.

    Raises:
        OptionError: An argument cannot be used.
        SettingsError: An ``external_*`` setting cannot be used.
    """

    def __init__(
        self,
        app: Celery | None = None,
        *,
        providers: Mapping[str, Provider] | None = None,
        mapping: JobMapping | None = None,
        max_body: int = 1 << 20,
    ) -> None:
        self._installation = installation_of(app)
        # Held here: the installation does not keep its app alive.
        self._app = self._installation.app
        self._providers = _check_providers(providers or {})
        if mapping is not None and not callable(mapping):
            raise OptionError("mapping", f"must be a function, not {mapping!r}")
        self._mapping = mapping
        if not isinstance(max_body, int) or max_body < 1:
            raise OptionError("max_body", f"must be a number of bytes, not {max_body!r}")
        self.max_body = max_body
        self.forged = 0
        self._lock = threading.Lock()

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self._app

    def receive(self, token: str, request: Request) -> Response:
        """Answer a call of ``{external_base_url}/jobs/<token>``."""
        if request.method not in {"GET", "HEAD", "POST"}:
            return _not_allowed("GET, HEAD, POST")
        is_page = request.method != "POST" or request.media_type == FORM
        response = self._respond(
            is_page=is_page, about="A token", go=lambda: self._redeem(token, request)
        )
        return dataclasses.replace(response, body=b"") if request.method == "HEAD" else response

    def receive_from(self, provider: str, request: Request) -> Response:
        """Answer a call of ``{external_base_url}/providers/<provider>``."""
        if request.method != "POST":
            return _not_allowed("POST")
        about = f"Provider {provider}"
        return self._respond(is_page=False, about=about, go=lambda: self._take(provider, request))

    def _redeem(self, token: str, request: Request) -> Answer | Response:
        installation = self._installation
        try:
            claims = redeeming.claims_of(installation, token)
        except TokenRefusedError:
            self._count_forged()
            raise
        is_look = request.method != "POST"
        return self._guarded(
            f"Job {claims.job_id}", lambda: self._serve(claims, token, request, is_look=is_look)
        )

    def _serve(
        self, claims: Claims, token: str, request: Request, *, is_look: bool
    ) -> Answer | Response:
        redeeming.check_claims(
            self._installation,
            claims,
            _TO_LOOK if is_look else _TO_SAY,
            by=request.by,
            # To look at something changes nothing, not even the history.
            is_noted=not is_look,
        )
        visit = Visit(self._installation, claims, token, request)
        if is_look:
            return visit.show()
        check_size(request, self.max_body)
        if request.media_type == FORM:
            return visit.decide()
        return machines.take(self._installation, self._mapping, claims, request)

    def _take(self, name: str, request: Request) -> Answer:
        provider = self._providers.get(name)
        if provider is None:
            raise RefusedError(404, "not_found")
        check_size(request, self.max_body)
        try:
            providers.check_signature(name, provider, request)
        except RefusedError:
            self._count_forged()
            raise
        return providers.take(self._installation, name, provider, request)

    def _respond(
        self, *, is_page: bool, about: str, go: Callable[[], Answer | Response]
    ) -> Response:
        answer = self._guarded(about, go)
        if isinstance(answer, Response):
            return answer
        if not is_page:
            return answer.as_json()
        try:
            return show_answer(answer)
        except OptionError:
            logger.exception("%s: the page cannot be shown", about)
            return Answer(500, "internal").as_json()

    def _guarded(self, about: str, go: Callable[[], Answer | Response]) -> Answer | Response:
        """What came of it, whatever went wrong; ``about`` says in the log what it was about."""
        try:
            return go()
        except RefusedError as exc:
            return exc.answer
        except TokenRefusedError:
            return Answer(403, "refused")
        except (DatabaseUnavailableError, SchemaError) as exc:
            logger.error("%s: %s", about, exc)  # noqa: TRY400 - the message says it all
            return unavailable().answer
        except Exception:
            logger.exception("%s: the call could not be answered", about)
            return Answer(500, "internal")

    def _count_forged(self) -> None:
        with self._lock:
            self.forged += 1


def _not_allowed(allowed: str) -> Response:
    return Answer(405, "method", headers={"Allow": allowed}).as_json()


def _check_providers(given: Mapping[str, Provider]) -> dict[str, Provider]:
    for name, provider in given.items():
        if not check_text("providers", name) or "/" in name:
            raise OptionError("providers", f"{name!r} cannot stand in a URL's path")
        if not isinstance(provider, Provider):
            raise OptionError("providers", f"{name!r} must be a Provider, not {provider!r}")
    return dict(given)
