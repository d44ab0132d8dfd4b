"""``continue_with``: another step in a job's place, kept in the row until it is started."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from celery.app.task import Context, Task
from celery.canvas import Signature, _chain, chord, group

from . import payload, states
from .errors import OptionError
from .message import headers_of, load_body

if TYPE_CHECKING:
    from celery import Celery

    from .store.database import Row


@dataclass(frozen=True, slots=True)
class Continued:
    """An outcome: the job goes on as another step; ``result`` is the step's first argument."""

    step: Any
    result: Any = None


def encode(app: Celery, job_id: str, outcome: Continued, note: str | None) -> Row:
    """The columns that a continuation is kept in.

    The ids inside are given now: should the step be sent twice, it is the same tasks twice. As in
    ``Task.replace``, the last task has the job's, and a group's results are collected by one.

    Raises:
        OptionError: It is no signature that can take a job's place.
        UnserializableError: The serializer refuses its arguments.
    """
    step = outcome.step
    if not isinstance(step, Signature):
        raise OptionError("continue_with", f"must be a signature, as task.s(…), not {step!r}")
    if "chord" in step.options:
        raise OptionError("continue_with", "must not be a member of a chord")
    if isinstance(step, (_chain, group)) and not step.tasks:
        raise OptionError("continue_with", "is a canvas without a step")
    given = _copy(app, step)
    if outcome.result is not None:
        _give(given, outcome.result)
    frozen: Any = app.signature(_copy(app, given))
    collect = app.tasks["celery.accumulate"].s(index=0)
    if isinstance(frozen, group):
        frozen |= collect
    elif isinstance(frozen, _chain) and isinstance(frozen.tasks[-1], group):
        frozen.kwargs["tasks"] = [*frozen.tasks[:-1], frozen.tasks[-1] | collect]
    frozen.freeze(job_id)
    data, type_ = payload.serialize(
        {"given": given, "frozen": dict(frozen)}, app.conf.task_serializer, "step"
    )
    return payload.outcome_columns(
        states.CONTINUED, note or f"Continued with {step}", outcome=data, outcome_type=type_
    )


def _copy(app: Celery, step: Mapping[str, Any]) -> dict[str, Any]:
    """What its serializer makes of a signature; nothing in it is the caller's any more."""
    copied: dict[str, Any] = payload.load(
        app, *payload.serialize(dict(step), app.conf.task_serializer, "step")
    )
    return copied


def _give(step: dict[str, Any], result: Any) -> None:
    """Put a result in front of the arguments, as a chain does."""
    inner = step["kwargs"]
    if step["subtask_type"] == "chain":
        _give(inner["tasks"][0], result)
    elif step["subtask_type"] in {"group", "chord"}:
        header = inner["tasks"] if step["subtask_type"] == "group" else inner["header"]
        for member in header["kwargs"]["tasks"] if isinstance(header, dict) else header:
            _give(member, result)
    elif not step["immutable"]:
        step["args"] = [result, *step["args"]]


def is_same(app: Celery, row: Row, encoded: Row) -> bool:
    """Whether two continuations are the same step; ids are each one's own."""
    kept, said = (payload.load(app, r["outcome"], r["outcome_type"]) for r in (row, encoded))
    return "given" in kept and bool(kept["given"] == said["given"])


def first_task(app: Celery, row: Row) -> Any:
    """The task with which a continuation begins, if it is one task and known here."""
    step: Any = app.signature(payload.load(app, row["outcome"], row["outcome_type"])["frozen"])
    while isinstance(step, _chain):
        step = step.tasks[0]
    return None if isinstance(step, (chord, group)) else app.tasks.get(step.task)


def placed(app: Celery, row: Row) -> Any:
    """The continuation as a signature with the job's id and place, made outside of a worker."""
    headers, embed = headers_of(row), load_body(app, row)[2]
    request = Context(
        id=row["id"],
        group=headers.get("group"),
        group_index=headers.get("group_index"),
        root_id=headers.get("root_id") or row["id"],
        replaced_task_nesting=headers.get("replaced_task_nesting") or 0,
        **{name: embed.get(name) for name in ("callbacks", "errbacks", "chain", "chord")},
    )
    kept = payload.load(app, row["outcome"], row["outcome_type"])
    replaced: Any = _Replaced(app, request)
    step: Any = Task.replace(replaced, app.signature(kept["frozen"]))
    step.set(parent_id=row["id"])
    return step


@dataclass(frozen=True)
class _Replaced:
    """As much of a task as ``Task.replace`` looks at."""

    app: Celery
    request: Context

    def on_replace(self, step: Signature[Any]) -> Signature[Any]:
        """It is not sent here."""
        return step
