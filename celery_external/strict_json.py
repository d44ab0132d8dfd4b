"""JSON from outside: parsed only where it means one thing, and can be kept as what it means."""

from __future__ import annotations

import json
import math
from typing import Any, NoReturn

from .checks import MAX_BITS, MAX_DEPTH

#: Of an integer: more cannot have MAX_BITS bits.
_MAX_DIGITS = MAX_BITS // 3


def load(data: bytes | str) -> Any:
    """Parse JSON in UTF-8.

    Raises:
        ValueError: It is not JSON, is nested deeper than MAX_DEPTH, names a key twice, or has a
            number that is none or that not every reader takes.
    """
    text = data.decode() if isinstance(data, bytes) else data
    try:
        value = json.loads(
            text,
            object_pairs_hook=_unique,
            parse_constant=_refuse_constant,
            parse_float=_finite,
            parse_int=_bounded,
        )
    except RecursionError:
        too_deep = True
    else:
        too_deep = _is_deep(value)
    if too_deep:
        message = f"nested deeper than {MAX_DEPTH}"
        raise ValueError(message)
    return value


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        message = "a key is there twice"
        raise ValueError(message)
    return found


def _refuse_constant(name: str) -> NoReturn:
    message = f"{name} is not JSON"
    raise ValueError(message)


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        message = "a number is larger than any float"
        raise ValueError(message)
    return value


def _bounded(text: str) -> int:
    if len(text) > _MAX_DIGITS or (value := int(text)).bit_length() > MAX_BITS:
        message = f"an integer has more than {MAX_BITS} bits"
        raise ValueError(message)
    return value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(MAX_DEPTH + 1):
        inner = [list(part.values()) if isinstance(part, dict) else part for part in level]
        level = [one for part in inner if isinstance(part, list) for one in part]
        if not level:
            return False
    return True
