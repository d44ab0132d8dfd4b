"""What a body says about a job: the default mapping, and a user's own."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

from celery_external.job import Failed, Job, Progress, Succeeded
from celery_external.tokens import Action

from .exchange import RefusedError

logger = logging.getLogger("celery_external")

Outcome: TypeAlias = "Succeeded | Failed | Progress"
#: Turns a token caller's body into what it says; None: nothing.
JobMapping: TypeAlias = "Callable[[Job, Any], Outcome | None]"
#: Likewise of a provider's, which names no job.
BodyMapping: TypeAlias = "Callable[[Any], Outcome | None]"

#: Characters: a problem may repeat what was sent.
MAX_PROBLEM = 300
#: Characters: a token's holder has it written to the history as often as they like.
MAX_REASON_LENGTH = 2000
_KINDS = (Succeeded, Failed, Progress)
#: What the holder of a token may say.
ALLOWED: Mapping[Action, tuple[type, ...]] = {
    "succeed": (Succeeded, Progress),
    "fail": (Failed, Progress),
    "decide": _KINDS,
    "view": (),
}


def by_default(action: Action, body: Any) -> Outcome:
    """What a body says where the user has given no mapping.

    Raises:
        RefusedError: 422: it does not say it.
    """
    if action == "succeed":
        return Succeeded(body)
    if action == "fail":
        return _failed(body if isinstance(body, str) else _object(body).get("reason"))
    given = _object(body)
    match given.get("outcome"):
        case "succeeded":
            return Succeeded(given.get("result"))
        case "failed":
            return _failed(given.get("reason"))
        case "progress":
            return Progress(given.get("current"), given.get("total"), given.get("message"))
    raise invalid("outcome must be succeeded, failed or progress")


def ask_mapping(
    about: str,
    mapping: Callable[..., Any],
    *given: Any,
    extra: Mapping[str, Any] | None = None,
) -> Outcome | None:
    """What the user's mapping makes of a body; ``about`` and ``extra`` name it in the log.

    Raises:
        RefusedError: 500: the mapping raised, or returned something else.
    """
    try:
        found = mapping(*given)
    except Exception as exc:
        logger.exception("%s: the mapping raised", about, extra=extra)
        raise RefusedError(500, "internal") from exc
    if found is None or isinstance(found, _KINDS):
        return found
    logger.error(
        "%s: the mapping must return Succeeded(...), Failed(...), Progress(...) or None, not %s",
        about,
        type(found).__name__,
        extra=extra,
    )
    raise RefusedError(500, "internal")


def invalid(problem: str) -> RefusedError:
    """A body that was understood, and does not do."""
    return RefusedError(422, "invalid", problem=problem[:MAX_PROBLEM])


def _object(body: Any) -> Mapping[str, Any]:
    if not isinstance(body, Mapping):
        raise invalid("The body must be an object")
    return body


def _failed(reason: Any) -> Failed:
    if not isinstance(reason, str):
        raise invalid("reason must be a text")
    if len(reason) > MAX_REASON_LENGTH:
        raise invalid(f"reason must have at most {MAX_REASON_LENGTH} characters")
    return Failed(reason)
