"""What a page's form carries so that no other site can send it in the name of who is logged in."""

from __future__ import annotations

import json
from collections.abc import Sequence

from celery_external.tokens import signer

_SALT = b"celery-external.form"


def form_key(keys: Sequence[str], token: str, by: str | None) -> str:
    """The key of a form for this token, shown to this user (None: nobody is logged in)."""
    return signer(keys, _SALT).get_signature(_said(token, by)).decode()


def is_form_key(keys: Sequence[str], given: str, token: str, by: str | None) -> bool:
    """Whether the form was shown to this user, for this token."""
    return given.isascii() and signer(keys, _SALT).verify_signature(_said(token, by), given)


def _said(token: str, by: str | None) -> str:
    return json.dumps([token, by])
