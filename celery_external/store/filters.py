"""Filters of lists and counts, as conditions on a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import UNSETTLED, Json

from .noted import c, p
from .sql import is_any, json_has, statement_now

#: Filters that compare a column with one value.
EQUAL = {
    name: c[name]
    for name in ("state", "task", "reference", "root_id", "parent_id", "group_id", "queue", "kind",
                 "completed_by", "attempt")
}  # fmt: skip
#: Filters on a time: before (exclusive) and after (inclusive).
TIMES = {
    f"{name}_{side}": (c[column], side)
    for name, column in {
        "created": "created_at",
        "parked": "parked_at",
        "completed": "completed_at",
        "deadline": "deadline",
    }.items()
    for side in ("before", "since")
}

_takes_message = states.ALL_STATES - {states.STARTED, states.PARKED}


def is_in(names: Iterable[str]) -> sa.ColumnElement[bool]:
    """Whether the state is one of these."""
    # Written out: as parameters they would be a list whose length is known too late.
    return c.state.in_([sa.literal_column(f"'{name}'") for name in sorted(names)])


# Each can be told from the index of what is open or owed alone. `wake_at` is never later than the
# deadline.
_FLAGS: Mapping[str, sa.ColumnElement[bool]] = {
    "owed": sa.and_(UNSETTLED, is_in(states.TERMINAL_STATES)),
    "overdue": c.wake_at <= statement_now(),
    "stuck": sa.and_(UNSETTLED, is_in(_takes_message), c.sends > p("max_sends", sa.Integer())),
}
#: Filters that are a condition by themselves.
CONDITIONS: Mapping[str, sa.ColumnElement[bool]] = {
    **_FLAGS,
    **{f"not_{name}": sa.not_(sa.func.coalesce(flag, sa.false())) for name, flag in _FLAGS.items()},
    "settled": sa.and_(c.kind.is_not(None), c.wake_at.is_(None)),
    "open": UNSETTLED,
}


def conditions(filters: Iterable[str]) -> list[sa.ColumnElement[bool]]:
    """What a row has to fulfil."""
    return [c.namespace == p("namespace"), *(_condition(name) for name in sorted(filters))]


def _condition(name: str) -> sa.ColumnElement[bool]:
    if name in EQUAL:
        return EQUAL[name] == p(name, EQUAL[name].type)
    if name in TIMES:
        moment, side = TIMES[name]
        value = p(name, moment.type)
        return moment < value if side == "before" else moment >= value
    if name in {"labels", "meta"}:
        return json_has(c[name], p(name, Json()))
    return CONDITIONS[name]


def few(*guards: sa.ColumnElement[bool]) -> sa.ColumnElement[bool]:
    """The condition for rows that are few, which no statistics say: they are looked up first."""
    return is_any(c.id, sa.select(c.id).where(c.namespace == p("namespace"), *guards))


def names_of(filters: Mapping[str, Any]) -> frozenset[str]:
    """The filters by their names; what follows from a value is one, too."""
    # The index of open and owed rows serves who says that a row is open.
    more = {"open"} if filters.get("state") in states.OPEN_STATES else set()
    return frozenset({*filters, *more})


def values_of(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the conditions."""
    values = {f"p_{name}": value for name, value in filters.items() if name not in CONDITIONS}
    for name in ("stuck", "not_stuck"):
        if name in filters:
            values["p_max_sends"] = filters[name]
    return values
