"""Who is logged in, by the host's own way to know."""

from __future__ import annotations

import logging
from collections.abc import Callable

from celery_external.webhooks.exchange import unavailable

logger = logging.getLogger("celery_external")


def ask_user(
    user: Callable[..., str | None], *given: object, refusal: type[Exception]
) -> str | None:
    """What the host's ``user`` says.

    Arguments:
        user: Says who is logged in; None: nobody.
        given: What it is called with.
        refusal: What it raises, by the framework's custom, to refuse somebody; that passes.

    Raises:
        RefusedError: 503: it raised something else. The frameworks would log its error with the
            URL, and with it the token.
    """
    try:
        return user(*given)
    except refusal:
        raise
    except Exception as exc:
        logger.exception("Nobody can say who is logged in")
        raise unavailable() from exc
