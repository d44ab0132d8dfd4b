"""A provider that signs its calls, for tests of the webhooks that receive them."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal, TypeAlias, TypeVar
from uuid import uuid4

T = TypeVar("T")

#: The headers for a body that is sent at a time, in seconds since 1970.
Signer: TypeAlias = "Callable[[bytes, int], Mapping[str, str]]"


class FakeProvider:
    """Makes calls as a provider does, with headers that carry its signature.

    It signs by itself, and not with what verifies.

    Arguments:
        signer: Gives the headers for a body and a time. For the known schemes there are
            :meth:`standard_webhooks`, :meth:`stripe` and :meth:`hmac_header`.
    """

    def __init__(self, signer: Signer) -> None:
        self._signer = signer

    @classmethod
    def standard_webhooks(cls, secret: str) -> FakeProvider:
        """Signs as the Standard Webhooks say; the secret is Base64, with or without ``whsec_``.

        Source: https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md
        """
        key = base64.b64decode(secret.removeprefix("whsec_"))

        def sign(body: bytes, at: int) -> Mapping[str, str]:
            call_id = f"msg_{uuid4().hex}"
            digest = _digest(key, f"{call_id}.{at}.".encode() + body, "sha256")
            signature = base64.b64encode(digest).decode()
            return {
                "webhook-id": call_id,
                "webhook-timestamp": str(at),
                "webhook-signature": f"v1,{signature}",
            }

        return cls(sign)

    @classmethod
    def stripe(cls, secret: str) -> FakeProvider:
        """Signs as Stripe does, with an endpoint's secret.

        Source: https://docs.stripe.com/webhooks#verify-manually
        """
        key = secret.encode()

        def sign(body: bytes, at: int) -> Mapping[str, str]:
            signature = _digest(key, f"{at}.".encode() + body, "sha256").hex()
            return {"Stripe-Signature": f"t={at},v1={signature}"}

        return cls(sign)

    @classmethod
    def hmac_header(
        cls,
        secret: str | bytes,
        *,
        header: str = "X-Signature",
        algorithm: str = "sha256",
        encoding: Literal["hex", "base64"] = "hex",
        prefix: str = "",
        timestamp_header: str | None = None,
    ) -> FakeProvider:
        """Signs by an HMAC in a header; the options are those of the scheme HmacHeader."""
        key = secret.encode() if isinstance(secret, str) else secret

        def sign(body: bytes, at: int) -> Mapping[str, str]:
            headers = {} if timestamp_header is None else {timestamp_header: str(at)}
            signed = body if timestamp_header is None else f"{at}.".encode() + body
            digest = _digest(key, signed, algorithm)
            text = digest.hex() if encoding == "hex" else base64.b64encode(digest).decode()
            return {**headers, header: f"{prefix}{text}"}

        return cls(sign)

    def sign(
        self, payload: Any, *, at: float | datetime | None = None
    ) -> tuple[dict[str, str], bytes]:
        """The headers and the body of one call.

        Arguments:
            payload: What is sent as JSON; bytes are sent as they are.
            at: When it is signed: seconds since 1970, or an aware datetime. Default: now.
        """
        body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
        if at is None:
            at = time.time()
        seconds = at.timestamp() if isinstance(at, datetime) else at
        return {"Content-Type": "application/json", **self._signer(body, int(seconds))}, body

    def post(
        self,
        send: Callable[[dict[str, str], bytes], T],
        payload: Any,
        *,
        at: float | datetime | None = None,
    ) -> T:
        """Make one call by ``send(headers, body)``, and return what that returns."""
        return send(*self.sign(payload, at=at))


def _digest(key: bytes, signed: bytes, algorithm: str) -> bytes:
    return hmac.new(key, signed, getattr(hashlib, algorithm)).digest()
