"""Signed tokens: what a link carries that lets its holder do one thing to one attempt of a job."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any, Final, Literal, TypeAlias, get_args

from itsdangerous import BadData, Signer, TimestampSigner, URLSafeSerializer

from .errors import OptionError, SettingsError, TokenRefusedError

#: What a token allows: to complete the job in one way, in either way, or to look at it.
Action: TypeAlias = Literal["succeed", "fail", "decide", "view"]
ACTIONS: Final[tuple[Action, ...]] = get_args(Action)

#: When a token is over: seconds from now, or an aware datetime. None: DEFAULT_LIFETIME from now.
Expires: TypeAlias = "float | timedelta | datetime | None"
#: Seconds: a month, as long as finished jobs are kept.
DEFAULT_LIFETIME = 30 * 86400.0
#: No token of ours is longer, and nobody else's is worth a signature's time.
MAX_LENGTH = 2048
_SALT = b"celery-external.token"
_OPTIONS: Any = {"key_derivation": "hmac", "digest_method": sha256}


@dataclass(frozen=True, slots=True)
class Claims:
    """What a token says. ``expires_at`` is in seconds since 1970."""

    namespace: str
    job_id: str
    attempt: int
    action: Action
    expires_at: int


def check_action(action: object) -> Action:
    """One of ACTIONS.

    Raises:
        OptionError: It is not.
    """
    for known in ACTIONS:
        if action == known:
            return known
    raise OptionError("action", f"must be one of {', '.join(ACTIONS)}, not {action!r}")


def sign(keys: Sequence[str], claims: Claims) -> str:
    """The token that says this, signed with the first of the keys.

    Raises:
        SettingsError: There are no keys.
    """
    if not keys:
        raise SettingsError(
            "external_secret_keys",
            "tokens need it: set a list of one secret, such as "
            'python -c "import secrets; print(secrets.token_urlsafe())" prints',
        )
    parts = [getattr(claims, name) for name in Claims.__slots__]
    return str(_serializer(keys).dumps(parts))


def verify(keys: Sequence[str], token: str) -> Claims:
    """What a token says, if one of the keys has signed it. Whether it still counts is not asked.

    Raises:
        TokenRefusedError: None has.
    """
    if not keys or len(token) > MAX_LENGTH:
        raise TokenRefusedError
    try:
        # Every key is tried, and each signature compared in constant time.
        return Claims(*_serializer(keys).loads(token))
    except (BadData, TypeError, ValueError) as exc:
        raise TokenRefusedError from exc


def signer(keys: Sequence[str], salt: bytes) -> Signer:
    """Signs something else than tokens with the same keys: another salt, another signature."""
    return Signer(_in_order(keys), salt, **_OPTIONS)


def timed_signer(keys: Sequence[str], salt: bytes) -> TimestampSigner:
    """As :func:`signer`; what it signs can be refused once it is too old."""
    return TimestampSigner(_in_order(keys), salt, **_OPTIONS)


def _serializer(keys: Sequence[str]) -> URLSafeSerializer:
    return URLSafeSerializer(_in_order(keys), _SALT, signer_kwargs=_OPTIONS)


def _in_order(keys: Sequence[str]) -> list[str]:
    """As itsdangerous has them, which signs with the last one."""
    return list(reversed(keys))
