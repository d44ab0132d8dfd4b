"""The kinds of canvases in the soak, and which step must follow which.

A job is one external step of a unit, such as ``("s1-7", "a")``; it carries both as labels. Where a
step fails, its errback runs as ``a!``.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Kind:
    """One form of a canvas.

    Attributes:
        weight: How often it is started, compared to the others.
        first: The external steps that are there as soon as it was started.
        then: What follows a step that succeeded.
        members: The steps whose results the body ``body`` gets.
        is_control: Ordinary tasks only: what Celery loses by itself.
    """

    weight: int
    first: tuple[str, ...] = ("a",)
    then: Mapping[str, str] = field(default_factory=dict)
    members: tuple[str, ...] = ()
    is_control: bool = False


KINDS: Mapping[str, Kind] = {
    "single": Kind(4, then={"a": "done"}),
    "early": Kind(3, then={"a": "done"}),
    "chain": Kind(5, then={"a": "mid", "mid": "b", "b": "end"}),
    "group": Kind(2, first=("a", "b", "c"), then={"a": "a.done", "b": "b.done", "c": "c.done"}),
    "chord": Kind(3, first=("a", "b", "c"), members=("a", "b", "c")),
    "mixed": Kind(3, first=("a", "c"), then={"c": "d"}, members=("a", "p", "d")),
    "retry": Kind(3, then={"a": "done"}),
    "default": Kind(2, then={"a": "done"}),
    "in time": Kind(2, then={"a": "done"}),
    "become": Kind(2, then={"a": "a.became"}),
    "plain": Kind(3, first=(), then={"x": "y", "y": "z"}, is_control=True),
    "plain chord": Kind(2, first=(), members=("x", "y", "z"), is_control=True),
}

#: Of tasks that time ends: who signals them all the same, does so rarely.
TIMED = frozenset({"ask_with_default", "ask_in_time"})
