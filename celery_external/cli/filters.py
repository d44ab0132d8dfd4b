"""Which jobs: an option for each filter of ``find_jobs``."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import click
from celery.bin.base import CeleryOption

from celery_external import states
from celery_external.store.filters import TIMES

from .values import Json, Moment

Decorator: TypeAlias = "Callable[[Callable[..., Any]], Callable[..., Any]]"

_TIMES = {
    "created": "Created",
    "parked": "Parked",
    "completed": "Completed",
    "deadline": "With a deadline",
}
_FLAGS = {
    "settled": "With a final outcome that Celery has been told.",
    "owed": "With an outcome that Celery has not been told yet.",
    "overdue": "Whose time is over, and no sweep has come.",
    "stuck": "Sent as often as is reasonable, and never taken.",
}


def _text(help_text: str) -> dict[str, Any]:
    return {"metavar": "TEXT", "help": help_text}


def _time(name: str) -> dict[str, Any]:
    column, _, side = name.partition("_")
    when = "before this time" if side == "before" else "at this time or later"
    return {"type": Moment(is_relative=True), "help": f"{_TIMES[column]} {when}."}


STATES = f"{', '.join(states.IN_ORDER[:-1])} or {states.IN_ORDER[-1]}"

#: The filters, as ``find_jobs`` names them, and what is said of their options.
FILTERS: Mapping[str, Mapping[str, Any]] = {
    "state": {
        "type": click.Choice(sorted(states.ALL_STATES), case_sensitive=False),
        "metavar": "STATE",
        "help": f"In this state: {STATES}.",
    },
    "task": _text("Of the task with this name."),
    "labels": _text("With this label; given again: with all of them.") | {"multiple": True},
    "meta": {"type": Json(is_object=True), "help": "With meta that contains this JSON object."},
    "reference": _text("With this id of the outside system's."),
    "root_id": _text("Of the canvas with this id."),
    "parent_id": _text("Started by the task with this id."),
    "group_id": _text("Of the group with this id."),
    "queue": _text("That came by this queue."),
    "kind": {
        "type": click.Choice(sorted(states.STATE_OF_OUTCOME)),
        "help": "With an outcome of this kind.",
    },
    "completed_by": _text("Whose outcome was said by this one."),
    "attempt": {"type": click.IntRange(min=1), "help": "At this attempt."},
    **{name: {"is_flag": True, "help": text} for name, text in _FLAGS.items()},
    **{name: _time(name) for name in TIMES},
}


def filter_options(**changed: Mapping[str, Any] | None) -> Decorator:
    """Give a command an option for each filter; ``changed``: in other words, or None: without."""

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        for name, said in reversed(list(FILTERS.items())):
            options = changed.get(name, {})
            if options is not None:
                given = {"cls": CeleryOption, "help_group": "Filters", **said, **options}
                function = click.option(*_flags(name), **given)(function)
        return function

    return decorate


def _flags(name: str) -> tuple[str, ...]:
    return ("--label", name) if name == "labels" else (f"--{name.replace('_', '-')}",)


def read_filters(given: Mapping[str, Any]) -> dict[str, Any]:
    """The filters that were given, as ``find_jobs`` takes them."""
    return {
        name: value
        for name in FILTERS
        if (value := given.get(name)) is not None and value is not False and value != ()
    }
