"""What both sides of the suite know: what a task is to answer, and how a value is written down."""

from __future__ import annotations

import hashlib
import itertools
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
    match value:
        case None | bool() | int() | float():
            return value
        case str():
            return value if len(value) <= MAX_SHOWN else _digest(value)
        case dict():
            return {str(key): show(item) for key, item in value.items()}
        case list() | tuple():
            return [show(item) for item in value]
        case BaseException():
            return {"raised": type(value).__name__, "message": str(value)}
        case _:
            return value.__name__ if isinstance(value, type) else repr(value)


def _digest(text: str) -> str:
    return f"{len(text)} characters, sha256 {hashlib.sha256(text.encode()).hexdigest()}"


def compare(ordinary: Any, external: Any, path: str = "") -> list[str]:
    """Say where two JSON values differ, a line each."""
    if isinstance(ordinary, dict) and isinstance(external, dict):
        keys = dict.fromkeys([*ordinary, *external])
        pairs = [(f".{key}", ordinary.get(key, "-"), external.get(key, "-")) for key in keys]
    elif isinstance(ordinary, list) and isinstance(external, list):
        longest = itertools.zip_longest(ordinary, external, fillvalue="-")
        pairs = [(f"[{number}]", left, right) for number, (left, right) in enumerate(longest)]
    else:
        same = ordinary == external
        return [] if same else [f"{path}: ordinary {ordinary!r}, external {external!r}"]
    return [line for key, left, right in pairs for line in compare(left, right, path + key)]
