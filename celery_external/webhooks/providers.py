"""A provider's call: signed by the provider, about a job that it knows by its own id."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery_external import references
from celery_external.checks import MAX_REFERENCE_LENGTH, check_text
from celery_external.errors import (
    JobAlreadyCompletedError,
    OptionError,
    ResultInvalidError,
    SignatureRefusedError,
    StaleAttemptError,
    UnserializableError,
)
from celery_external.signatures import Scheme

from .bodies import read_json
from .exchange import Answer, RefusedError, Request
from .outcomes import MAX_PROBLEM, BodyMapping, ask_mapping

if TYPE_CHECKING:
    from celery_external.installation import Installation

logger = logging.getLogger("celery_external")


@dataclass(frozen=True, slots=True)
class Provider:
    """Who calls at ``{external_base_url}/providers/<name>``, and what the calls mean.

    Attributes:
        task: Whose jobs they are about: the task, or its name.
        scheme: How the provider signs.
        reference: Gives the id that the trigger kept as ``current_job.reference``, out of a body;
            None: the call is about no job.
        mapping: Gives what a body says; None: nothing.

    Raises:
        OptionError: One of them is of another type.
    """

    task: Any
    scheme: Scheme
    reference: Callable[[Any], str | None]
    mapping: BodyMapping

    def __post_init__(self) -> None:
        """Check what was given, and keep the task's name."""
        object.__setattr__(self, "task", check_text("task", getattr(self.task, "name", self.task)))
        if not isinstance(self.scheme, Scheme):
            raise OptionError("scheme", f"must have a method verify, not {self.scheme!r}")
        for name in ("reference", "mapping"):
            if not callable(getattr(self, name)):
                raise OptionError(name, f"must be a function, not {getattr(self, name)!r}")


def check_signature(name: str, provider: Provider, request: Request) -> None:
    """Whether the call is the provider's.

    Raises:
        RefusedError: 401: it is not.
    """
    try:
        provider.scheme.verify(request.headers, request.body)
    except SignatureRefusedError as exc:
        logger.warning("Refused: a call in the name of provider %s: %s", name, exc)
        raise RefusedError(401, "signature") from exc


def take(installation: Installation, name: str, provider: Provider, request: Request) -> Answer:
    """Have the job told what the provider says.

    It is answered 200, also when it is refused, for whatever would be refused again.

    Raises:
        RefusedError: It could not be read, or the user's own functions raised.
    """
    body, about = read_json(request), f"Provider {name}"
    reference = _reference(about, provider, body)
    outcome = None if reference is None else ask_mapping(about, provider.mapping, body)
    if reference is None or outcome is None:
        return Answer(200, "ignored")
    try:
        receipt = references.signal(installation, provider.task, reference, outcome, by=name)
    except (JobAlreadyCompletedError, ResultInvalidError, StaleAttemptError):
        # It is in the history and the log. Sent again it would be refused again.
        return Answer(200, "refused")
    except (OptionError, UnserializableError) as exc:
        logger.error(  # noqa: TRY400 - the message says it all
            "%s: what it says of %r is lost, because it can never be kept: %s",
            about,
            reference[:MAX_REFERENCE_LENGTH],
            exc.problem[:MAX_PROBLEM],
        )
        return Answer(200, "refused")
    return Answer(200, receipt.status)


def _reference(about: str, provider: Provider, body: Any) -> str | None:
    try:
        found: object = provider.reference(body)
    except Exception as exc:
        logger.exception("%s: reference raised", about)
        raise RefusedError(500, "internal") from exc
    if found is None or isinstance(found, str):
        return found
    logger.error("%s: reference must return a text or None, not %s", about, type(found).__name__)
    raise RefusedError(500, "internal")
