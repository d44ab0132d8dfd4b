"""What providers sign their calls with: each scheme says whether a call came from its sender.

A scheme looks at the body as it was received, before anybody parses it. It takes several secrets,
so that they can be rotated: any of them verifies.
"""

from __future__ import annotations

import base64
import hmac
import re
import time
from collections.abc import Mapping
from typing import Literal, Protocol, runtime_checkable

from .checks import check_seconds
from .errors import OptionError, SignatureRefusedError

#: Seconds; Stripe's and the Standard Webhooks' own.
DEFAULT_TOLERANCE = 300.0
_TIMESTAMP = re.compile(r"[0-9]{1,15}")


@runtime_checkable
class Scheme(Protocol):
    """How a provider signs. Anything with this method is one."""

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """Look at a call; header names are compared without their case.

        Raises:
            SignatureRefusedError: It carries no valid signature.
        """


class StandardWebhooks:
    """The Standard Webhooks, as Replicate, OpenAI and others send them.

    A timestamp may be five minutes off, either way; that is the library's own and cannot be set.

    Arguments:
        secrets: As the provider shows them, most with ``whsec_`` in front.

    Raises:
        OptionError: A secret cannot be used, or the library is not installed.
    """

    def __init__(self, *secrets: str) -> None:
        try:
            # Only who uses it needs it.
            from standardwebhooks import Webhook, WebhookVerificationError  # noqa: PLC0415
        except ImportError as exc:
            raise OptionError(
                "StandardWebhooks",
                'needs standardwebhooks: pip install "celery-external[webhooks]"',
            ) from exc
        checked = _check_secrets(secrets)
        try:
            self._webhooks = [Webhook(secret.decode()) for secret in checked]
        except Exception:  # noqa: BLE001 - the library's are of many types, and show the secret
            problem = "a secret must be Base64, with or without whsec_ in front"
        else:
            self._refused = (WebhookVerificationError, ValueError)
            return
        raise OptionError("secrets", problem)

    def __repr__(self) -> str:
        return f"<StandardWebhooks, {len(self._webhooks)} secrets>"

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """As of :class:`Scheme`."""
        names = ("webhook-id", "webhook-timestamp", "webhook-signature")
        found = {name: _find(headers, name) for name in names}
        for webhook in self._webhooks:
            try:
                webhook.verify(body, found, json_parse=False)
            except self._refused as exc:
                problem = str(exc)
            else:
                return
        raise SignatureRefusedError(problem)


class Stripe:
    """Stripe's: ``Stripe-Signature: t=<seconds>,v1=<HMAC-SHA256 of "t.body">``.

    Arguments:
        secrets: The endpoint's, ``whsec_…``.
        tolerance: Seconds that the timestamp may be off, either way.

    Raises:
        OptionError: A secret or the tolerance cannot be used.

    Source: https://docs.stripe.com/webhooks#verify-manually
    """

    def __init__(self, *secrets: str, tolerance: float = DEFAULT_TOLERANCE) -> None:
        self._secrets = _check_secrets(secrets)
        self._tolerance = _check_tolerance(tolerance)

    def __repr__(self) -> str:
        return f"<Stripe, {len(self._secrets)} secrets>"

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """As of :class:`Scheme`."""
        header = _find(headers, "Stripe-Signature")
        parts = [part.partition("=") for part in header.split(",")]
        timestamps = [value for key, _, value in parts if key == "t"]
        if len(timestamps) != 1:
            raise SignatureRefusedError("Stripe-Signature has not one timestamp")
        given = [value.encode() for key, _, value in parts if key == "v1"]
        signed = timestamps[0].encode() + b"." + body
        expected = [hmac.digest(secret, signed, "sha256").hex() for secret in self._secrets]
        _compare([one.encode() for one in expected], given)
        _check_timestamp(timestamps[0], self._tolerance)


class HmacHeader:
    """A plain HMAC of the body in a header, for the rest of the providers.

    Arguments:
        secrets: The provider's, as texts or bytes.
        header: Where the signature is.
        algorithm: Of ``hashlib``, such as ``sha256``.
        encoding: ``hex`` or ``base64``.
        prefix: What the header has before the signature, such as ``sha256=``.
        timestamp_header: Where the seconds since 1970 are. The timestamp is then checked, and
            what is signed is the timestamp, a full stop and the body. None: only the body is
            signed, and a call that was overheard can be repeated at any time.
        tolerance: Seconds that the timestamp may be off, either way.

    Raises:
        OptionError: One of them cannot be used.
    """

    def __init__(
        self,
        *secrets: str | bytes,
        header: str = "X-Signature",
        algorithm: str = "sha256",
        encoding: Literal["hex", "base64"] = "hex",
        prefix: str = "",
        timestamp_header: str | None = None,
        tolerance: float = DEFAULT_TOLERANCE,
    ) -> None:
        self._secrets = _check_secrets(secrets)
        self._header = header
        self._algorithm = _check_algorithm(algorithm)
        if encoding not in {"hex", "base64"}:
            raise OptionError("encoding", f"must be 'hex' or 'base64', not {encoding!r}")
        self._encoding = encoding
        self._prefix = prefix
        self._timestamp_header = timestamp_header
        self._tolerance = _check_tolerance(tolerance)

    def __repr__(self) -> str:
        return f"<HmacHeader {self._header} ({self._algorithm}), {len(self._secrets)} secrets>"

    def verify(self, headers: Mapping[str, str], body: bytes) -> None:
        """As of :class:`Scheme`."""
        header = _find(headers, self._header)
        if not header.startswith(self._prefix):
            raise SignatureRefusedError(f"{self._header} does not begin as it should")
        given = header.removeprefix(self._prefix)
        if self._encoding == "hex":
            given = given.lower()
        timestamp = None
        if self._timestamp_header is not None:
            timestamp = _find(headers, self._timestamp_header)
            body = timestamp.encode() + b"." + body
        digests = [hmac.digest(secret, body, self._algorithm) for secret in self._secrets]
        _compare([self._encode(digest) for digest in digests], [given.encode()])
        if timestamp is not None:
            _check_timestamp(timestamp, self._tolerance)

    def _encode(self, digest: bytes) -> bytes:
        return digest.hex().encode() if self._encoding == "hex" else base64.b64encode(digest)


def _find(headers: Mapping[str, str], name: str) -> str:
    """The one header of this name, which has something in it."""
    found = [value for key, value in headers.items() if key.lower() == name.lower()]
    if len(found) > 1:
        raise SignatureRefusedError(f"{name} is there {len(found)} times")
    if not found or not found[0]:
        raise SignatureRefusedError(f"{name} is missing")
    if not found[0].isascii():
        raise SignatureRefusedError(f"{name} is not ASCII")
    return found[0]


def _compare(expected: list[bytes], given: list[bytes]) -> None:
    """Whether one is the other, without saying by the time it takes how near it was."""
    if not [one for one in given for own in expected if hmac.compare_digest(one, own)]:
        raise SignatureRefusedError("it was made with another secret, or for another body")


def _check_timestamp(text: str, tolerance: float) -> None:
    if _TIMESTAMP.fullmatch(text) is None:
        raise SignatureRefusedError("the timestamp is no number of seconds")
    if abs(time.time() - int(text)) > tolerance:
        raise SignatureRefusedError(f"the timestamp is more than {tolerance:g} seconds off")


# --- What a scheme is made with -------------------------------------------------------------------


def _check_secrets(secrets: tuple[object, ...]) -> list[bytes]:
    # A secret is never repeated in a message.
    if not secrets:
        raise OptionError("secrets", "there must be one at least")
    checked = [one.encode() if isinstance(one, str) else one for one in secrets]
    for secret in checked:
        if not isinstance(secret, bytes) or not secret.strip():
            raise OptionError("secrets", "each must be a text that is not empty")
    return [secret for secret in checked if isinstance(secret, bytes)]


def _check_tolerance(tolerance: float) -> float:
    seconds = check_seconds("tolerance", tolerance)
    if seconds is None:
        raise OptionError("tolerance", "must be a number of seconds: without it calls repeat")
    return seconds


def _check_algorithm(algorithm: str) -> str:
    try:
        hmac.digest(b"", b"", algorithm)
    except (TypeError, ValueError) as exc:
        raise OptionError("algorithm", f"hashlib has no {algorithm!r}") from exc
    return algorithm
