"""Values as people read them in a terminal: times, spans, numbers, and nothing that steers it."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

_UNITS = (("d", 86400), ("h", 3600), ("m", 60), ("s", 1))


def plain(value: object) -> str:
    """One line that only shows: what would break it or steer a terminal is written as an escape."""
    text = str(value)
    if text.isprintable():
        return text
    return "".join(
        one if one.isprintable() else one.encode("unicode_escape").decode() for one in text
    )


def one_line(value: object) -> str:
    """A message of ours, which may quote what others have written, in one line."""
    return plain(" ".join(str(value).split()))


def moment_text(moment: datetime) -> str:
    """A time in UTC, as the options take it too: ``2026-01-31T12:00:00Z``."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def span_text(span: timedelta) -> str:
    """How long, in its two largest units: ``3d 4h``, ``12s``."""
    left = abs(int(span.total_seconds()))
    parts: list[tuple[int, str]] = []
    for unit, seconds in _UNITS:
        number, left = divmod(left, seconds)
        if number or parts:
            parts.append((number, unit))
    return " ".join(f"{number}{unit}" for number, unit in parts[:2] if number) or "0s"


def distance_text(moment: datetime) -> str:
    """How far away a time is: ``2h 5m ago``, ``in 3d``; by this host's clock."""
    distance = moment - datetime.now(UTC)
    span = span_text(distance)
    return f"in {span}" if distance > timedelta() else f"{span} ago"


def when_text(moment: datetime) -> str:
    """A time, and how far away it is."""
    return f"{moment_text(moment)} ({distance_text(moment)})"


def number_of(number: int, noun: str = "job") -> str:
    """``1 job``, ``1,234 jobs``."""
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


# --- JSON -----------------------------------------------------------------------------------------


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON for any reader, in ASCII; what JSON has no word for is a text."""
    return json.dumps(_as_json(value), indent=indent)


def shown_json(value: Any) -> str:
    """JSON for people, in one line."""
    return plain(json.dumps(_as_json(value), ensure_ascii=False))


def _as_json(value: Any) -> Any:
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else repr(value)
    if isinstance(value, datetime) and value.tzinfo is not None:
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Mapping):
        return {str(key): _as_json(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_as_json(item) for item in value]
    return str(value)
