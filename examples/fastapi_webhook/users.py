"""Who calls, by the API key in the header Authorization; put your own login in its place."""

from __future__ import annotations

import os
from hmac import compare_digest
from typing import Annotated

from fastapi import Depends, HTTPException
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

Credentials = Annotated[HTTPAuthorizationCredentials | None, Depends(HTTPBearer(auto_error=False))]


def caller(credentials: Credentials) -> str | None:
    """Whose key it is, of ``API_KEYS="alice:… bob:…"``; None: there is no key at all."""
    if credentials is None:
        return None
    given = credentials.credentials.encode()
    for pair in os.environ["API_KEYS"].split():
        name, key = pair.split(":", 1)
        if compare_digest(given, key.encode()):
            return name
    raise _refusal()


def user(name: Annotated[str | None, Depends(caller)]) -> str:
    """Whose key it is; without one nobody gets any further."""
    if name is None:
        raise _refusal()
    return name


def _refusal() -> HTTPException:
    return HTTPException(401, "Who are you?", {"WWW-Authenticate": "Bearer"})
