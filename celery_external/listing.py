"""Lists of jobs, and how many there are: filters checked, pages by key."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from . import states
from .checks import check_labels, check_meta, check_text
from .errors import OptionError
from .job import Page
from .store import counts, read
from .store.filters import EQUAL, TIMES
from .view import job_from

if TYPE_CHECKING:
    from .figures import Count
    from .installation import Installation

MAX_LIMIT = 1000


def find(
    installation: Installation,
    filters: Mapping[str, Any],
    *,
    order: str,
    limit: int,
    after: str | None,
    using: Any = None,
) -> Page:
    """One page of the jobs that fit; see ``External.find_jobs``."""
    name = _column_of(order)
    if not isinstance(limit, int) or isinstance(limit, bool) or not 1 <= limit <= MAX_LIMIT:
        raise OptionError("limit", f"must be a number from 1 to {MAX_LIMIT}, not {limit!r}")
    checked = check_filters(filters)
    where = _read_place(order, after)
    with installation.place(using).alone() as tx:
        # One more than asked for tells whether there is a next page.
        rows = read.find(tx, installation.namespace, checked, order, limit + 1, where)
    shown = rows[:limit]
    jobs = tuple(job_from(installation.app, row) for row in shown)
    is_last = len(rows) <= limit
    column = f"{name}_at"
    return Page(jobs, None if is_last else _write_place(order, shown[-1][column], shown[-1]["id"]))


def count(
    installation: Installation,
    filters: Mapping[str, Any],
    *,
    order: str | None = None,
    using: Any = None,
) -> Count:
    """How many jobs fit; see ``External.count_jobs``."""
    from .figures import Count  # noqa: PLC0415 - only who looks at figures needs it

    checked = check_filters(filters)
    column = None if order is None else _column_of(order)
    with installation.place(using).alone() as tx:
        return Count(*counts.count(tx, installation.namespace, checked, has=column))


def check_filters(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The filters as the store takes them."""
    return dict(_check_filter(*pair) for pair in filters.items() if pair[1] is not None)


def _column_of(order: object) -> str:
    name = order.removeprefix("-") if isinstance(order, str) else ""
    if name not in read.ORDERS:
        orders = ", ".join(read.ORDERS)
        raise OptionError(
            "order", f"must be one of {orders}, or one with - before it, not {order!r}"
        )
    return name


def _check_filter(name: str, value: Any) -> tuple[str, Any]:
    """The filter as the store takes it."""
    check = _CHECKS.get(name)
    if check is None:
        raise OptionError(name, f"is no filter; there are {', '.join(sorted(_CHECKS))}")
    checked = check(name, value)
    if name == "settled":
        return ("settled" if value else "owed"), True
    if name in _FLAGS:
        return (name if value else f"not_{name}"), True
    return name, checked


def _check_labels(_name: str, value: Any) -> list[str]:
    return list(check_labels(value))


def _check_meta(_name: str, value: Any) -> dict[str, Any]:
    return check_meta(value)


def _check_bool(name: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise OptionError(name, f"must be True or False, not {value!r}")
    return value


def _check_state(name: str, value: Any) -> str:
    if not isinstance(value, str) or value not in states.ALL_STATES:
        known = ", ".join(sorted(states.ALL_STATES))
        raise OptionError(name, f"must be one of {known}, not {value!r}")
    return value


def _check_time(name: str, value: Any) -> datetime:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise OptionError(name, f"must be an aware datetime, not {value!r}")
    try:
        return value.astimezone(UTC)
    except OverflowError:
        raise OptionError(name, f"must be in the years 1 to 9999 in UTC: {value!r}") from None


def _check_number(name: str, value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 < value < 1 << 31:
        raise OptionError(name, f"must be a number from 1, not {value!r}")
    return value


_FLAGS = ("overdue", "owed", "stuck")
_CHECKS: Mapping[str, Callable[[str, Any], Any]] = {
    **dict.fromkeys(EQUAL, check_text),
    **dict.fromkeys(TIMES, _check_time),
    **dict.fromkeys(_FLAGS, _check_bool),
    "attempt": _check_number,
    "labels": _check_labels,
    "meta": _check_meta,
    "settled": _check_bool,
    "state": _check_state,
}


def _write_place(order: str, moment: datetime, job_id: str) -> str:
    place = json.dumps([order, moment.isoformat(), job_id])
    return base64.urlsafe_b64encode(place.encode()).decode()


def _read_place(order: str, after: str | None) -> tuple[datetime, str] | None:
    if after is None:
        return None
    try:
        made_for, moment, job_id = json.loads(base64.urlsafe_b64decode(after.encode()))
        place = (datetime.fromisoformat(moment).astimezone(UTC), check_text("after", job_id))
    except (
        AttributeError, OverflowError, RecursionError, TypeError, ValueError, binascii.Error,
    ) as exc:  # fmt: skip
        raise OptionError("after", f"is no page's next: {after!r}") from exc
    if made_for != order:
        raise OptionError("after", f"belongs to the order {made_for!r}, not {order!r}")
    return place
