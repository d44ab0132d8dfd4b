"""Jinja2, set up once for all pages: everything is escaped, and nothing may be missing."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import TYPE_CHECKING, Any

from celery_external.errors import OptionError

if TYPE_CHECKING:
    from jinja2 import Environment


def make_environment(whose: str, extra: str, **filters: Callable[..., Any]) -> Environment:
    """The templates of the package.

    Arguments:
        whose: Who needs them, for the error.
        extra: What brings Jinja2 along, for the error.
        filters: What the templates call, by name.

    Raises:
        OptionError: Jinja2 is not installed.
    """
    try:
        # Only who shows a page needs it.
        from jinja2 import Environment, PackageLoader, StrictUndefined  # noqa: PLC0415
    except ImportError as exc:
        raise OptionError(
            whose,
            "its pages need jinja2, which celery-external[flask], [django], [fastapi] and "
            f'[dashboard] bring: pip install "celery-external[{extra}]"',
        ) from exc
    environment = Environment(
        loader=PackageLoader("celery_external"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= filters
    return environment


def moment(value: datetime | str) -> str:
    """A time for people."""
    at = datetime.fromisoformat(value) if isinstance(value, str) else value
    return f"{at:%Y-%m-%d %H:%M} UTC"


def tell_end(kind: str, by: str | None, at: datetime) -> str:
    """How a job ended, for people."""
    who = f" by {by}" if by else ""
    return f"{kind.replace('_', ' ')}{who} on {moment(at)}"


def write_value(value: Any) -> str:
    """A text as it is, anything else as JSON."""
    return value if isinstance(value, str) else write_json(value)


def write_json(value: Any) -> str:
    """JSON for people; what is none, as Python has it."""
    try:
        # Celery's own JSON brings back times, decimals and UUIDs, and pickle anything.
        return json.dumps(value, ensure_ascii=False, indent=2, default=str)
    except (TypeError, ValueError):
        return repr(value)
