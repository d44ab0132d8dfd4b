"""A process that starts canvases until it is told to stop: ``python -m tests.soak.starter SEED``.

It writes down what it is about to start, and that it was started, or refused.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Mapping
from random import Random
from typing import Any
from uuid import uuid4

from celery import chain, chord, group
from kombu.exceptions import OperationalError

from celery_external import DatabaseUnavailableError
from tests.soak.app import (
    ask,
    ask_again,
    ask_in_time,
    ask_late,
    ask_with_default,
    become,
    notes,
    record,
    record_error,
)
from tests.soak.kinds import KINDS
from tests.soak.voice import Voice

#: Who starts, waits so long while there are too many open jobs, or while a server is away.
REST = 0.2


def step(task: Any, unit: str, name: str, *, then: str | None = None) -> Any:
    """An external step, with its errback and labels."""
    made = task.s(unit=unit, step=name).set(labels=[unit, name])
    made.link_error(record_error.s(unit=unit, step=f"{name}!"))
    if then is not None:
        made.link(record.s(unit=unit, step=then))
    return made


def body(unit: str) -> Any:
    """The body of a chord, with its errback."""
    made = record.s(unit=unit, step="body")
    made.link_error(record_error.s(unit=unit, step="body!"))
    return made


def plain(unit: str, name: str) -> Any:
    """An ordinary step."""
    return record.s(unit=unit, step=name)


def make_chain(unit: str, rng: Random) -> Any:
    first, second = rng.sample([ask, ask_late], 2)
    return chain(
        step(first, unit, "a"), plain(unit, "mid"), step(second, unit, "b"), plain(unit, "end")
    )


def make_group(unit: str, _rng: Random) -> Any:
    return group(step(ask, unit, name, then=f"{name}.done") for name in "abc")


def make_chord(unit: str, rng: Random) -> Any:
    return chord([step(rng.choice([ask, ask_late]), unit, name) for name in "abc"], body(unit))


def make_mixed(unit: str, _rng: Random) -> Any:
    header = [step(ask, unit, "a"), record.s("p", unit=unit, step="p")]
    return chord([*header, chain(step(ask_late, unit, "c"), plain(unit, "d"))], body(unit))


def make_plain(unit: str, _rng: Random) -> Any:
    return chain(plain(unit, "x"), plain(unit, "y"), plain(unit, "z"))


def make_plain_chord(unit: str, _rng: Random) -> Any:
    return chord([record.s(name, unit=unit, step=name) for name in "xyz"], body(unit))


def one(task: Any, then: str | None = "done") -> Callable[[str, Random], Any]:
    """A canvas of one external step."""
    return lambda unit, _rng: step(task, unit, "a", then=then)


MAKE: Mapping[str, Callable[[str, Random], Any]] = {
    "single": one(ask),
    "early": one(ask),
    "retry": one(ask_again),
    "default": one(ask_with_default),
    "in time": one(ask_in_time),
    "become": one(become, then=None),
    "chain": make_chain,
    "group": make_group,
    "chord": make_chord,
    "mixed": make_mixed,
    "plain": make_plain,
    "plain chord": make_plain_chord,
}


def start(kind: str, unit: str, rng: Random) -> Any:
    """Start one canvas; None when it was refused."""
    canvas = MAKE[kind](unit, rng)
    notes.write("units", unit=unit, kind=kind, word="intended")
    try:
        result = canvas.apply_async()
    except (OperationalError, OSError, DatabaseUnavailableError) as exc:
        notes.write("units", unit=unit, kind=kind, word="refused", problem=repr(exc))
        time.sleep(REST)
        return None
    notes.write("units", unit=unit, kind=kind, word="started")
    return result


def main(seed: str) -> None:
    """Start canvases until told to stop."""
    rng = Random(seed)  # noqa: S311 - the soak is to be repeatable, not secret
    me = uuid4().hex[:8]
    voice = Voice(f"starter-{me}", rng)
    weights = [kind.weight for kind in KINDS.values()]
    number = 0
    while not notes.is_told("stop"):
        if notes.is_told("pause"):
            time.sleep(REST)
            continue
        number += 1
        (kind,) = rng.choices(list(KINDS), weights)
        result = start(kind, f"{me}-{number}", rng)
        if kind == "early" and result is not None:
            voice.speak(result.id, None)
        time.sleep(rng.uniform(0, 0.1))


if __name__ == "__main__":
    main(sys.argv[1])
