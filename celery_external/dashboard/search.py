"""What a list is asked for: the URL's fields as filters, and as a URL again."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final
from urllib.parse import urlencode

from celery_external import states, strict_json
from celery_external.inputs import Input

#: Fields that are compared as they are typed.
_TEXTS: Final[Mapping[str, str]] = {
    "task": "Task",
    "reference": "Reference",
    "root_id": "Canvas (root id)",
    "parent_id": "Parent id",
    "group_id": "Group id",
    "queue": "Queue",
    "completed_by": "Decided by",
}
#: Fields that are ticked.
_TICKS: Final[Mapping[str, str]] = {
    "overdue": "Overdue",
    "owed": "Owed to Celery",
    "stuck": "Stuck",
}
_TIMES: Final[Mapping[str, str]] = {
    f"{name}_{side}": f"{label} {side}"
    for name, label in {
        "created": "Created", "parked": "Parked", "completed": "Completed", "deadline": "Deadline",
    }.items()
    for side in ("since", "before")
}  # fmt: skip
_KINDS: Final = (
    states.SUCCEEDED, states.FAILED, states.TIMED_OUT, states.LOST, states.CANCELLED,
    states.CONTINUED,
)  # fmt: skip
#: As people look for them.
_STATES: Final = (states.PARKED, *(one for one in states.IN_ORDER if one != states.PARKED))
#: The orders, for people.
ORDERS: Final[Mapping[str, str]] = {
    "-created": "Newest first",
    "created": "Oldest first",
    "-parked": "Parked last first",
    "parked": "Parked longest first",
    "-completed": "Completed last first",
    "completed": "Completed longest ago first",
}
DEFAULT_ORDER: Final = "-created"
LIMITS: Final = (25, 50, 100, 200)
DEFAULT_LIMIT: Final = 50


def _input(name: str, label: str, kind: str, description: str | None = None, **more: Any) -> Input:
    return Input(name, label, kind, required=False, description=description, **more)


def _select(name: str, label: str, options: Iterable[str]) -> Input:
    return _input(name, label, "select", options={one: one for one in options}, nullable=True)


#: What everybody looks for.
FIRST: Final = (
    _select("state", "State", _STATES),
    _input("task", "Task", "text"),
    _input("meta", "Meta", "text", "customer=7, or JSON"),
)
#: What is folded until somebody uses it.
MORE: Final = (
    *(_input(name, label, "text") for name, label in _TEXTS.items() if name != "task"),
    _select("kind", "Outcome", _KINDS),
    _input("attempt", "Attempt", "integer", attributes={"min": 1}),
    *(_input(name, f"{label} (UTC)", "time") for name, label in _TIMES.items()),
    *(_input(name, label, "checkbox") for name, label in _TICKS.items()),
    _select("settled", "Settled", ("yes", "no")),
)
_KNOWN: Final = {one.name for one in (*FIRST, *MORE)} | {"order", "limit"}
#: Beside the filters: where in the list, and whether it is refreshed.
_BESIDE: Final = ("after", "live")


@dataclass(frozen=True, slots=True)
class Search:
    """What was typed: by the field's name, and labels."""

    typed: Mapping[str, str]
    labels: tuple[str, ...] = ()

    @classmethod
    def of(cls, pairs: Iterable[tuple[str, str]]) -> Search:
        """What a URL asks for; fields that are none of ours are left out."""
        given = list(pairs)
        labels = tuple(dict.fromkeys(v for k, v in given if k == "label" and v))
        typed = {k: v for k, v in given if k in _KNOWN or k in _BESIDE}
        return cls({k: v for k, v in typed.items() if v.strip()}, labels)

    def read(self) -> tuple[dict[str, Any], dict[str, str]]:
        """The filters, as ``find_jobs`` takes them, and the problems, by the field's name."""
        filters: dict[str, Any] = {"labels": list(self.labels)} if self.labels else {}
        problems: dict[str, str] = {}
        for name, text in self.typed.items():
            if name in {"order", "limit", *_BESIDE}:
                continue
            try:
                filters[name] = _convert(name, text.strip())
            except ValueError as exc:
                problems[name] = str(exc)
        return filters, problems

    @property
    def order(self) -> str:
        """In which order."""
        return self.typed.get("order", DEFAULT_ORDER)

    @property
    def limit(self) -> int:
        """How many on a page."""
        given = self.typed.get("limit", "")
        return int(given) if given in {str(one) for one in LIMITS} else DEFAULT_LIMIT

    @property
    def after(self) -> str | None:
        """Behind which place of the list."""
        return self.typed.get("after")

    @property
    def is_live(self) -> bool:
        """Whether the list is refreshed by itself."""
        return self.typed.get("live") == "1"

    @property
    def uses_more(self) -> bool:
        """Whether one of the folded fields is used."""
        return any(one.name in self.typed for one in MORE)

    def write(self, **changes: str | None) -> str:
        """The URL's query, with other values for some fields; None: without it."""
        fields = {**self.typed, **changes}
        kept = [(name, text) for name, text in fields.items() if text is not None]
        return urlencode([*kept, *(("label", label) for label in self.labels)])


def _convert(name: str, text: str) -> Any:
    if name in _TIMES:
        return _read_time(text)
    if name == "meta":
        return _read_meta(text)
    if name == "attempt":
        return _read_number(text)
    if name in _TICKS:
        return True
    if name == "settled":
        return text == "yes"
    return text


def _read_time(text: str) -> datetime:
    try:
        at = datetime.fromisoformat(text)
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at
    except ValueError:
        raise ValueError("must be a time as 2026-01-31T12:00") from None


def _read_number(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or len(text) > 10:  # noqa: PLR2004 - none has more
        raise ValueError("must be a number from 1")
    return int(text)


def _read_meta(text: str) -> dict[str, Any]:
    if text.startswith("{"):
        try:
            found = strict_json.load(text)
        except ValueError as exc:
            raise ValueError(f"is no JSON: {exc}") from None
        if isinstance(found, dict):
            return found
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ValueError('must be as customer=7, or as {"customer": 7}')
    return {key.strip(): _read_value(value.strip())}


def _read_value(text: str) -> Any:
    """JSON, such as a number; otherwise the text itself."""
    try:
        return strict_json.load(text)
    except ValueError:
        return text
