"""Values that callers give, checked before anything is written."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from .errors import OptionError

MAX_LABELS = 32
MAX_LABEL_LENGTH = 255
MAX_REFERENCE_LENGTH = 255
MAX_JOB_ID_LENGTH = 255
#: Of a secret that signs, in characters.
MIN_SECRET_LENGTH = 32
#: Of an integer in JSON: no fewer than a float's, and no reader of JSON refuses them.
MAX_BITS = 1024
#: Of meta: how deep JSON may be nested.
MAX_DEPTH = 64
#: A hundred years; beyond it databases' calendars end, not people's patience.
MAX_SECONDS = 100 * 365 * 86400.0
MIN_YEAR, MAX_YEAR = 1000, 9000


def as_seconds(value: object) -> float | None:
    """A number or a timedelta, in seconds; None for anything else."""
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


def check_seconds(name: str, value: object) -> float | None:
    """Positive seconds, at most a hundred years, or None."""
    if value is None:
        return None
    seconds = as_seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise OptionError(name, f"must be a number of seconds, not {value!r}")
    if not 0 < seconds <= MAX_SECONDS:
        raise OptionError(name, f"must be more than 0 and at most 100 years, not {value!r}")
    return seconds


def check_deadline(value: object, name: str = "deadline") -> datetime | None:
    """An aware datetime (or its ISO text), or None."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise OptionError(name, f"is no ISO 8601 time: {value!r}") from None
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise OptionError(name, f"must be an aware datetime, not {value!r}")
    if value.tzinfo is None:
        raise OptionError(name, f"must be aware (have a time zone): {value!r}")
    if not MIN_YEAR <= value.year <= MAX_YEAR:
        raise OptionError(name, f"must be in the years {MIN_YEAR} to {MAX_YEAR}: {value!r}")
    return value.astimezone(UTC)


def check_timeout(value: object) -> float | None:
    """Positive seconds or None."""
    return check_seconds("timeout", value)


def check_labels(value: object) -> tuple[str, ...]:
    """A tuple of different, non-empty texts."""
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise OptionError("labels", f"must be a sequence of texts, not {value!r}")
    labels = tuple(value)
    if len(labels) > MAX_LABELS:
        raise OptionError("labels", f"there may be at most {MAX_LABELS}, not {len(labels)}")
    for label in labels:
        if not isinstance(label, str):
            raise OptionError("labels", f"each must be a text, not {label!r}")
        if not 0 < len(label) <= MAX_LABEL_LENGTH:
            raise OptionError("labels", f"each must have 1 to {MAX_LABEL_LENGTH} characters")
        check_text("labels", label)
    return tuple(dict.fromkeys(labels))


def check_meta(value: object) -> dict[str, Any]:
    """A mapping with text keys whose values JSON can carry exactly."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OptionError("meta", f"must be a mapping, not {value!r}")
    checked: dict[str, Any] = check_json("meta", value)
    return checked


def check_meta_key(key: object) -> str:
    """A text that both databases can keep."""
    return _check_key("meta", key)


def check_json(name: str, value: Any, depth: int = 0) -> Any:
    """``value`` if it is JSON that every database keeps as it is; raises OptionError otherwise."""
    if depth > MAX_DEPTH:
        raise OptionError(name, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return check_text(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(name, f"{value!r} is not JSON")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OptionError(name, f"integers may have at most {MAX_BITS} bits")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [check_json(name, item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {
            _check_key(name, key): check_json(name, item, depth + 1) for key, item in value.items()
        }
    raise OptionError(name, f"{type(value).__name__} is not JSON: {value!r}")


def _check_key(name: str, key: object) -> str:
    if not isinstance(key, str):
        raise OptionError(name, f"keys must be texts, not {key!r}")
    return check_text(name, key)


def check_text(name: str, value: object) -> str:
    """A text without NUL characters and lone surrogates, which PostgreSQL cannot keep."""
    if not isinstance(value, str):
        raise OptionError(name, f"must be a text, not {value!r}")
    if "\x00" in value:
        raise OptionError(name, "must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise OptionError(name, "must not contain lone surrogates") from None
    return value


def check_secret_keys(name: str, value: object) -> tuple[str, ...]:
    """Texts that are long enough to sign with; a key is never repeated in a message."""
    if isinstance(value, (str, bytes)) or not isinstance(value, Sequence):
        raise OptionError(name, "must be a list of texts, of which the first signs")
    for key in value:
        if not isinstance(key, str) or len(key) < MIN_SECRET_LENGTH:
            raise OptionError(
                name,
                f"each must be a text of at least {MIN_SECRET_LENGTH} characters, such as "
                "secrets.token_urlsafe() gives",
            )
    return tuple(value)


def check_task_id(value: object) -> str:
    """A task id that can be a job's: a text of 1 to 255 characters, or a UUID."""
    text = check_text("task_id", str(value) if isinstance(value, UUID) else value)
    if not 0 < len(text) <= MAX_JOB_ID_LENGTH:
        raise OptionError("task_id", f"must have 1 to {MAX_JOB_ID_LENGTH} characters")
    return text


def check_reference(value: object) -> str:
    """The outside system's id: a text of 1 to 255 characters."""
    text = check_text("reference", value)
    if not 0 < len(text) <= MAX_REFERENCE_LENGTH:
        raise OptionError("reference", f"must have 1 to {MAX_REFERENCE_LENGTH} characters")
    return text
