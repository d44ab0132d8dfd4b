"""What a page's form carries so that no other site can send it in the name of who is logged in."""

from __future__ import annotations

import json
from collections.abc import Sequence
from hashlib import sha256
from typing import TypeVar

from itsdangerous import Signer

S = TypeVar("S", bound=Signer)

_SALT = b"celery-external.form"


def form_key(keys: Sequence[str], token: str, by: str | None) -> str:
    """The key of a form for this token, shown to this user (None: nobody is logged in)."""
    return _signer(keys).get_signature(_said(token, by)).decode()


def is_form_key(keys: Sequence[str], given: str, token: str, by: str | None) -> bool:
    """Whether the form was shown to this user, for this token."""
    return given.isascii() and _signer(keys).verify_signature(_said(token, by), given)


def _said(token: str, by: str | None) -> str:
    return json.dumps([token, by])


def make_signer(of: type[S], keys: Sequence[str], salt: bytes) -> S:
    """A signer of itsdangerous that signs with the first of the keys, and verifies with any."""
    # itsdangerous signs with the last one.
    return of(list(reversed(keys)), salt=salt, key_derivation="hmac", digest_method=sha256)


def _signer(keys: Sequence[str]) -> Signer:
    return make_signer(Signer, keys, _SALT)
