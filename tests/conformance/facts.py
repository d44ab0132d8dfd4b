"""What both sides of the suite know: what a task is to answer, and how a value is written down."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from celery_external import ExternalJobFailed

#: The two tasks that may stand in a canvas's places.
ORDINARY = "ordinary"
EXTERNAL = "external"
KINDS = (ORDINARY, EXTERNAL)

MAX_SHOWN = 200


def answer(name: str, given: Sequence[Any], does: Any, tries: int) -> Any:
    """Return or raise what a task was told to; the ordinary one does it, of the external the test.

    ``does`` is one deed, or a list of them with one for each try; without one the answer tells
    what the task was given.
    """
    deed = does[min(tries, len(does) - 1)] if isinstance(does, list) else does
    match deed:
        case None:
            return f"{name}({', '.join(map(str, given))})"
        case {"returns": value}:
            return value
        case {"returns_text_of": length}:
            return "é" * length
        case {"fails": reason}:
            raise ExternalJobFailed(reason)
        case {"raises": reason}:
            raise ValueError(reason)
        case _:
            message = f"{name} cannot do {deed!r}"
            raise AssertionError(message)


def show(value: Any) -> Any:
    """A value as JSON that is compared and read: exceptions by type and words, long texts short."""
    if isinstance(value, BaseException):
        return {"raised": type(value).__name__, "message": str(value)}
    if isinstance(value, str) and len(value) > MAX_SHOWN:
        digest = hashlib.sha256(value.encode()).hexdigest()
        return f"{len(value)} characters, sha256 {digest}"
    if isinstance(value, dict):
        return {str(key): show(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [show(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    return repr(value)
