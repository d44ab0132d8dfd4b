"""What options take: spans of time, times, JSON."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from celery_external import strict_json
from celery_external.checks import MAX_SECONDS

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_PART = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")
_SPAN = re.compile(r"(?:\d+(?:\.\d+)?[smhdw])+")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")


if TYPE_CHECKING:
    # Generic for type checkers only, as long as older versions of click are supported.
    _ParamType = click.ParamType[Any]
else:
    _ParamType = click.ParamType


class Span(_ParamType):
    """How long: ``90s``, ``2h``, ``1d12h``; a plain number is seconds."""

    name = "duration"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        """Read it."""
        if isinstance(value, timedelta):
            return value
        span = read_span(f"{value}s" if _NUMBER.fullmatch(value) else value)
        if span is None:
            self.fail(f"{value!r} is no duration; write 90s, 15m, 2h, 30d, 1w or 1d12h", param, ctx)
        if span.total_seconds() > MAX_SECONDS:
            self.fail(f"{value!r} is longer than a hundred years", param, ctx)
        return span


class Moment(_ParamType):
    """When: ISO 8601 with its zone; where ``is_relative`` also ``2h`` (ago) and ``+2h``.

    A time without a zone is refused: the shell's zone, the server's and the reader's may be three.
    """

    name = "time"

    def __init__(self, *, is_relative: bool) -> None:
        self._is_relative = is_relative

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> datetime:
        """Read it; ``2h`` by this host's clock."""
        if isinstance(value, datetime):
            return value
        span = read_span(value.removeprefix("+")) if self._is_relative else None
        try:
            if span is not None:
                return datetime.now(UTC) + (span if value.startswith("+") else -span)
            moment = datetime.fromisoformat(value)
        except (OverflowError, ValueError):
            known = "2026-01-31T12:00:00Z"
            if self._is_relative:
                known += ", 2h (ago) or +2h (from now)"
            self.fail(f"{value!r} is no time; write {known}", param, ctx)
        if moment.tzinfo is None:
            hint = f"{moment.isoformat()}Z or {moment.isoformat()}+01:00"
            self.fail(f"{value!r} has no time zone; write {hint}", param, ctx)
        return moment


class Json(_ParamType):
    """JSON; with ``is_object`` an object."""

    name = "json"

    def __init__(self, *, is_object: bool = False) -> None:
        self._is_object = is_object

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Read it."""
        if not isinstance(value, str):
            return value
        try:
            found = strict_json.load(value)
        except ValueError as exc:
            hint = "" if self._is_object else "; a text has double quotes of its own: '\"yes\"'"
            self.fail(f"{value!r} is not JSON: {exc}{hint}", param, ctx)
        if self._is_object and not isinstance(found, dict):
            self.fail(f"{value!r} is not an object, such as '{{\"order\": 5}}'", param, ctx)
        return found


def read_span(text: str) -> timedelta | None:
    """The span that ``1d12h`` is; None: it is none."""
    if not _SPAN.fullmatch(text):
        return None
    try:
        parts = [timedelta(**{_UNITS[unit]: float(number)}) for number, unit in _PART.findall(text)]
        return sum(parts, timedelta())
    except OverflowError:
        return None
