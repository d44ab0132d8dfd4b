"""Bodies under WSGI: how long one is said to be, and whether all of it was there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from .exchange import RefusedError

#: Of a length: nobody sends a longer one.
_MAX_DIGITS = 18


def read_body(environ: Mapping[str, Any], read: Callable[[int], bytes], limit: int) -> bytes:
    """The body as it was received, cut off after ``limit`` bytes.

    Arguments:
        environ: WSGI's.
        read: Gives that many bytes of the body or fewer; none at its end.
        limit: Bytes; no more are read.

    Raises:
        RefusedError: 400: its length is no number, or it broke off: what is there may be
            well-formed and say something else.
            411: the server cannot tell where it ends. Read as empty, it would say something.
    """
    length = _length_of(environ)
    parts, left = [], limit if length is None else min(length, limit)
    try:
        while left and (part := read(left)):
            parts.append(part)
            left -= len(part)
    except (OSError, ValueError) as exc:
        raise RefusedError(400, "incomplete") from exc
    if left and length is not None:
        raise RefusedError(400, "incomplete")
    return b"".join(parts)


def _length_of(environ: Mapping[str, Any]) -> int | None:
    """Bytes that the caller has announced; None: in chunks, of which the server sees the last."""
    length = environ.get("CONTENT_LENGTH")
    if length:
        # Read with a negative one, a stream would never end; int() would take odd ones, or raise.
        if not (length.isascii() and length.isdigit()) or len(length) > _MAX_DIGITS:
            raise RefusedError(400, "incomplete")
        return int(length)
    if not environ.get("HTTP_TRANSFER_ENCODING"):
        return 0
    if environ.get("wsgi.input_terminated"):
        return None
    raise RefusedError(411, "length_required")
