"""Filters of lists and counts, as conditions on a row."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import UNSETTLED, Json

from .noted import c, not_started, owed, p, undecided
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

_is_sent_often = c.sends > states.MAX_SENDS
_FLAGS: Mapping[str, sa.ColumnElement[bool]] = {
    "owed": owed,
    # A deadline, too, is never earlier than `wake_at`.
    "overdue": c.wake_at <= statement_now(),
    "stuck": sa.and_(_is_sent_often, sa.or_(sa.and_(undecided, not_started), owed)),
}
#: Filters that are a condition by themselves.
_CONDITIONS: Mapping[str, sa.ColumnElement[bool]] = {
    **_FLAGS,
    **{f"not_{name}": sa.not_(sa.func.coalesce(flag, sa.false())) for name, flag in _FLAGS.items()},
    "settled": sa.and_(c.kind.is_not(None), c.wake_at.is_(None)),
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
    return _CONDITIONS[name]


def values_of(filters: Mapping[str, Any]) -> dict[str, Any]:
    """The parameters of the conditions."""
    return {f"p_{name}": value for name, value in filters.items() if name not in _CONDITIONS}


# --- The same, told from the index of what is open or owed ----------------------------------------

#: What its columns tell.
_TOLD = frozenset({"state", "task", "parked_before", "parked_since", "owed", "stuck"})


def are_unsettled(filters: Mapping[str, Any]) -> bool:
    """Whether only open or owed jobs fit."""
    is_open = filters.get("state") in states.OPEN_STATES
    return is_open or "owed" in filters or "stuck" in filters


def told_by_index(filters: Mapping[str, Any]) -> frozenset[str]:
    """Those of the filters that the index tells by itself."""
    return _TOLD.intersection(filters)


def indexed(filters: Iterable[str]) -> list[sa.ColumnElement[bool]]:
    """The conditions for the index, which nothing else is read for."""
    return [
        c.namespace == p("namespace"),
        UNSETTLED,
        *(_INDEXED[name] if name in _INDEXED else _condition(name) for name in sorted(filters)),
    ]


def is_in(names: Iterable[str]) -> sa.ColumnElement[bool]:
    """Whether the state is one of these."""
    # Written out: as parameters they would be a list whose length is known too late.
    return c.state.in_([sa.literal_column(f"'{name}'") for name in sorted(names)])


_INDEXED: Mapping[str, sa.ColumnElement[bool]] = {
    "owed": is_in(states.TERMINAL_STATES),
    "stuck": sa.and_(is_in(states.TAKES_MESSAGE), _is_sent_often),
    "untaken": is_in({states.PENDING, states.RETRY}),
}


def few(guards: Iterable[sa.ColumnElement[bool]]) -> sa.ColumnElement[bool]:
    """As one condition, for rows that are few: they are looked up first, one by one."""
    return is_any(c.id, sa.select(c.id).where(*guards))
