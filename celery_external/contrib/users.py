"""Who is logged in, by the host's own way to know."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery_external.webhooks.exchange import unavailable

logger = logging.getLogger("celery_external")


def ask_user(user: Callable[..., str | None], *given: object) -> str | None:
    """What the host's ``user`` says.

    Raises:
        RefusedError: 503: it raised. The frameworks would log its error with the URL, and with it
            the token.
    """
    try:
        return user(*given)
    except Exception as exc:
        logger.exception("Nobody can say who is logged in")
        raise unavailable() from exc
