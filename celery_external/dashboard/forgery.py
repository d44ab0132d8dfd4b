"""What a form must have so that no other site can send it in the name of who is logged in."""

from __future__ import annotations

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Final
from urllib.parse import urlsplit

from itsdangerous import BadSignature, SignatureExpired

from celery_external.tokens import timed_signer
from celery_external.webhooks.exchange import RefusedError

from .exchange import Request

#: Seconds for which a page's forms can be sent: a day's work.
LIFETIME: Final = 12 * 3600
#: Characters; ours are shorter.
_MAX_LENGTH = 512
_SALT = b"celery-external.dashboard"


def form_key(keys: Sequence[str], user: str) -> str:
    """What a form carries that is shown to this user now."""
    return timed_signer(keys, _SALT).sign(_mark(user)).decode()


def check_form(keys: Sequence[str], given: str, user: str) -> None:
    """Refuse a form that was not shown to this user, or too long ago.

    Raises:
        RefusedError: 403.
    """
    if not given.isascii() or len(given) > _MAX_LENGTH:
        raise RefusedError(403, "form_key")
    try:
        mark = timed_signer(keys, _SALT).unsign(given, max_age=LIFETIME)
    except SignatureExpired as exc:
        raise RefusedError(403, "expired") from exc
    except BadSignature as exc:
        raise RefusedError(403, "form_key") from exc
    if not hmac.compare_digest(mark, _mark(user)):
        raise RefusedError(403, "form_key")


def check_origin(request: Request) -> None:
    """Refuse what the browser says another site's page has sent.

    Raises:
        RefusedError: 403.
    """
    site = request.header("sec-fetch-site")
    if site is not None:
        is_ours = site in {"same-origin", "none"}
    else:
        # An older browser, or plain HTTP. Who sends neither is no browser; the key is asked of all.
        origin = request.header("origin")
        is_ours = origin is None or _netloc(origin) == request.host.lower()
    if not is_ours:
        raise RefusedError(403, "origin")


def _netloc(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower() or None
    except ValueError:
        return None


def _mark(user: str) -> bytes:
    return sha256(user.encode()).hexdigest().encode()
