"""What comes after a job, from its stored message: without the code of any task."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from kombu.exceptions import ContentDisallowed, DecodeError

from celery_external.logs import name_job
from celery_external.message import load_body

if TYPE_CHECKING:
    from celery import Celery

    from celery_external.store.database import Row

logger = logging.getLogger("celery_external")

#: Steps that a page has; a canvas may have thousands.
MAX_STEPS: Final = 50
_MAX_DEPTH = 6


@dataclass(frozen=True, slots=True)
class Step:
    """A task that is yet to come.

    Attributes:
        name: Its display name, or the task's.
        job_id: Its Celery task id, where it is known by now.
        depth: How deep it is within groups and chords.
    """

    name: str
    job_id: str | None = None
    depth: int = 0


@dataclass(frozen=True, slots=True)
class Onward:
    """What comes after a job: once it has succeeded, when it fails, and once its chord is full."""

    chain: tuple[Step, ...] = ()
    callbacks: tuple[Step, ...] = ()
    errbacks: tuple[Step, ...] = ()
    chord: tuple[Step, ...] = ()
    is_known: bool = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing comes."""
        return not (self.chain or self.callbacks or self.errbacks or self.chord)


def read_onward(app: Celery, row: Row) -> Onward:
    """What a job's message says of what comes after it."""
    try:
        _args, _kwargs, embed = load_body(app, row)
        # Celery takes the next step from the list's end.
        return Onward(
            chain=_first(_steps(list(reversed(embed.get("chain") or ())))),
            callbacks=_first(_steps(embed.get("callbacks") or ())),
            errbacks=_first(_steps(embed.get("errbacks") or ())),
            chord=_first(_steps([embed["chord"]] if embed.get("chord") else ())),
        )
    except (
        AttributeError, ContentDisallowed, DecodeError, LookupError, TypeError, ValueError,
    ) as exc:  # fmt: skip
        logger.info(
            "What comes after job %s cannot be shown: %s", row["id"], exc, extra=name_job(row)
        )
        return Onward(is_known=False)


def _first(steps: Iterator[Step]) -> tuple[Step, ...]:
    return tuple(step for step, _ in zip(steps, range(MAX_STEPS), strict=False))


def _steps(signatures: Any, depth: int = 0) -> Iterator[Step]:
    for signature in signatures:
        name, kwargs = signature.get("task"), signature.get("kwargs") or {}
        if name == "celery.chain" and depth < _MAX_DEPTH:
            yield from _steps(kwargs.get("tasks") or (), depth)
            continue
        options: Mapping[str, Any] = signature.get("options") or {}
        yield Step(str(options.get("shadow") or name), options.get("task_id"), depth)
        if depth >= _MAX_DEPTH:
            continue
        if name == "celery.group":
            yield from _steps(kwargs.get("tasks") or (), depth + 1)
        elif name == "celery.chord":
            yield from _steps(_members(kwargs.get("header") or ()), depth + 1)
            if kwargs.get("body"):
                yield from _steps([kwargs["body"]], depth)


def _members(header: Any) -> Any:
    """What a chord waits for: a list, or a group."""
    return header.get("kwargs", {}).get("tasks", ()) if isinstance(header, Mapping) else header
