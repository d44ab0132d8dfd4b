"""The dashboard: who is let in, which page it is, and every answer in one place."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from celery_external.checks import check_secret_keys
from celery_external.errors import DatabaseUnavailableError, OptionError, SchemaError
from celery_external.extension import External
from celery_external.installation import installation_of
from celery_external.webhooks.bodies import check_size
from celery_external.webhooks.exchange import RefusedError

from . import job_page, list_page, overview_page
from .access import Access
from .assets import PREFIX, serve_asset
from .exchange import Request, Response
from .rendering import environment, show
from .visit import Visit

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("celery_external")

#: What a host's ``authorize`` may return: None refuses.
Authorize = Callable[..., Any]
_View = Callable[[Visit], Response]

_GET: Final[Mapping[str, _View]] = {
    "/": overview_page.show_overview,
    "/jobs": list_page.show_list,
    "/job": job_page.show_job,
}
_POST: Final[Mapping[str, _View]] = {
    "/jobs": list_page.decide_selection,
    "/job": job_page.decide_job,
}

#: What went wrong, in words for people: a heading, and what to do now.
_WORDS: Final[Mapping[str, tuple[str, str]]] = {
    "refused": ("Not for you", "You are not allowed to see this dashboard."),
    "read_only": ("Not recorded", "You may look at jobs here, but not decide them."),
    "form_key": ("Not recorded", "Please open the page again, and answer from there."),
    "expired": (
        "Not recorded",
        "The page had been open for too long. Please open it again, and answer from there.",
    ),
    "origin": ("Not recorded", "This was sent from another site's page."),
    "not_found": ("Not found", "There is no such page, or what it was about is not kept any more."),
    "method": ("Not possible", "This page is only to be looked at."),
    "invalid": ("Not possible", "What was sent cannot be used."),
    "too_large": ("Not recorded", "What was sent is too large."),
    "unavailable": ("Not available", "The jobs' database is away. Please try again in a moment."),
    "internal": ("Something is wrong here", "The log says what."),
}


class Dashboard:
    """Shows jobs to people, and lets those who may decide them.

    It is closed until ``authorize`` says who may come in, and never raises what is not the host's:
    what goes wrong is logged and answered.

    Arguments:
        app: The Celery app. Default: the current one.
        authorize: Called for each request with what the host has: Django's, FastAPI's and
            Starlette's request, nothing in Flask, WSGI's environ, ASGI's scope. Returns an
            :class:`Access`; None refuses (403); a response of the host's, such as a redirect to
            its login, is passed on, and so is what it raises. Without it nobody may come in.
        read_only: Nobody may decide, whatever ``authorize`` says.
        secret_keys: What forms are signed with, as ``external_secret_keys``, which is the
            default. Without any, nobody may decide.
        max_body: Bytes of a form; what is longer is refused.

    Raises:
        OptionError: An argument cannot be used, or jinja2 is not installed.
        SettingsError: An ``external_*`` setting cannot be used.
    """

    def __init__(
        self,
        app: Celery | None = None,
        *,
        authorize: Authorize | None = None,
        read_only: bool = False,
        secret_keys: Sequence[str] | None = None,
        max_body: int = 1 << 20,
    ) -> None:
        self._external = External(app)
        if authorize is not None and not callable(authorize):
            raise OptionError("authorize", f"must be a function, not {authorize!r}")
        self._authorize = authorize
        settings = installation_of(self._external.app).settings
        self._keys = (
            settings.secret_keys
            if secret_keys is None
            else check_secret_keys("secret_keys", secret_keys)
        )
        if not isinstance(max_body, int) or max_body < 1:
            raise OptionError("max_body", f"must be a number of bytes, not {max_body!r}")
        self.max_body = max_body
        self._hindrance = _find_hindrance(self._keys, read_only=read_only)
        environment()

    @property
    def app(self) -> Celery:
        """The Celery app."""
        return self._external.app

    def ask(self, path: str, *given: Any) -> Any:
        """What ``authorize`` says to a request for this path; None without asking it for a file.

        An adapter gives the answer to :func:`check_access`. What ``authorize`` raises is the
        host's to answer.
        """
        if self._authorize is None or path.startswith(PREFIX):
            return None
        return self._authorize(*given)

    def respond(self, request: Request, access: Access | None) -> Response:
        """Answer a request; ``access`` is what :meth:`ask` has said."""
        response = self._guarded(request, access)
        return dataclasses.replace(response, body=b"") if request.method == "HEAD" else response

    def _guarded(self, request: Request, access: Access | None) -> Response:
        if self._authorize is None:
            # There is not even a stylesheet: nothing is served to nobody.
            return show(None, "closed.html", 403, title="This dashboard is closed")
        visit = None
        try:
            if request.path.startswith(PREFIX):
                return _serve_file(request)
            visit = self._let_in(request, access)
            return self._serve(visit)
        except RefusedError as exc:
            answer = exc.answer
            return _show_answer(request, visit, answer.status, answer.word, **answer.details)
        except (DatabaseUnavailableError, SchemaError) as exc:
            logger.error("Dashboard: %s", exc)  # noqa: TRY400 - the message says it all
            return _show_answer(request, visit, 503, "unavailable")
        except Exception:
            logger.exception("Dashboard: %s %s cannot be answered", request.method, request.path)
            return _show_answer(request, visit, 500, "internal")

    def _let_in(self, request: Request, access: Access | None) -> Visit:
        if access is None:
            raise RefusedError(403, "refused")
        return Visit(self._external, request, access, self._keys, self._hindrance)

    def _serve(self, visit: Visit) -> Response:
        request = visit.request
        if request.path not in _GET:
            raise RefusedError(404, "not_found")
        if request.method in {"GET", "HEAD"}:
            return _GET[request.path](visit)
        if request.method != "POST" or request.path not in _POST:
            raise RefusedError(405, "method")
        check_size(request, self.max_body)
        return _POST[request.path](visit)


def check_access(said: Any, response: type | tuple[type, ...]) -> Access | Any | None:
    """What ``authorize`` has said: an Access, None, or a ``response`` of the host's.

    Raises:
        OptionError: It is nothing of these; whoever says True has not said who it is.
    """
    if said is None or isinstance(said, (Access, response)):
        return said
    raise OptionError(
        "authorize", f"must return an Access, None, or a response of the host's, not {said!r}"
    )


def _serve_file(request: Request) -> Response:
    found = serve_asset(request.path) if request.method in {"GET", "HEAD"} else None
    if found is None:
        raise RefusedError(404, "not_found")
    return found


def _find_hindrance(keys: Sequence[str], *, read_only: bool) -> str | None:
    if read_only:
        return "This dashboard is only to be looked at."
    if not keys:
        return (
            "This dashboard is only to be looked at, because external_secret_keys is not set: "
            "forms are signed with it."
        )
    return None


def _show_answer(
    request: Request, visit: Visit | None, status: int, word: str, **details: Any
) -> Response:
    title, text = _WORDS[word]
    problem = details.get("problem")
    return show(
        visit, "message.html", status, root=request.root, title=title, text=text, problem=problem
    )
