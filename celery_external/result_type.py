"""What a task's results must be: a type, by which pydantic checks them before they are kept."""

from __future__ import annotations

import weakref
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from .errors import OptionError, ResultInvalidError
from .job import Failed, Succeeded

if TYPE_CHECKING:
    from celery import Celery
    from pydantic import ValidationError

#: Of a result with many mistakes so many are named, each with so many characters.
MAX_NAMED = 5
MAX_LENGTH = 300


#: Most processes know no task that declares one, and need not look at all tasks for it.
_declared: weakref.WeakSet[ResultType] = weakref.WeakSet()


class ResultType:
    """A type that a task has declared as its ``result_type``.

    Raises:
        OptionError: pydantic is not installed, or cannot validate the type.
    """

    def __init__(self, declared: Any) -> None:
        try:
            # Only who declares a type needs pydantic.
            from pydantic import TypeAdapter, ValidationError  # noqa: PLC0415
        except ImportError as exc:
            raise OptionError(
                "result_type", 'needs pydantic: pip install "celery-external[pydantic]"'
            ) from exc
        _declared.add(self)
        self.declared = declared
        self._invalid = ValidationError
        try:
            self._adapter: TypeAdapter[Any] = TypeAdapter(declared)
        except Exception as exc:
            raise OptionError(
                "result_type", f"pydantic cannot validate {declared!r}: {exc}"
            ) from exc

    def check(self, job_id: str, task: str, result: Any) -> Any:
        """The result in the JSON form in which it is kept.

        Raises:
            ResultInvalidError: It is not what was declared.
        """
        try:
            valid = self._adapter.validate_python(result)
        except self._invalid as exc:
            problem = _describe(exc)
        except Exception as exc:
            # The type's own code is wrong; its author wants to see where.
            problem = f"{type(exc).__name__} while it was validated"
            raise ResultInvalidError(job_id, task, problem) from exc
        else:
            try:
                # A model that was changed after it was made is only found out here.
                return self._adapter.dump_python(valid, mode="json", warnings="error")
            except Exception:  # noqa: BLE001 - whatever a serializer raises
                problem = "it does not fit its own type, or cannot be written as JSON"
        # Out here no exception comes along that shows what was given: that may be secret.
        raise ResultInvalidError(job_id, task, problem)


def _describe(error: ValidationError) -> str:
    """Which fields are wrong, and why; not what was given."""
    found = error.errors(include_url=False, include_context=False, include_input=False)
    named = [_describe_one(one["loc"], one["msg"])[:MAX_LENGTH] for one in found[:MAX_NAMED]]
    if len(found) > MAX_NAMED:
        named.append(f"and {len(found) - MAX_NAMED} more")
    return "; ".join(named)


def _describe_one(path: tuple[int | str, ...], problem: str) -> str:
    return f"{'.'.join(map(str, path))}: {problem}" if path else problem


def check_outcome(
    types: Mapping[str, ResultType], row: Mapping[str, Any], outcome: Succeeded | Failed
) -> Succeeded | Failed:
    """The outcome of the job in the row, as it is to be kept.

    Raises:
        ResultInvalidError: The row's task has declared another type.
    """
    declared = types.get(row["task"])
    if declared is None or not isinstance(outcome, Succeeded):
        return outcome
    return Succeeded(declared.check(row["id"], row["task"], outcome.result))


def result_types(app: Celery) -> dict[str, ResultType]:
    """The types that the tasks known to this app have declared, by the task's name."""
    if not _declared:
        return {}
    found = [(task.name, result_type_of(task)) for task in list(app.tasks.values())]
    return {name: type_ for name, type_ in found if type_ is not None}


def result_type_of(task: Any) -> ResultType | None:
    """The type that a task has declared, if it has."""
    found = getattr(task, "checked_result_type", None)
    return found if isinstance(found, ResultType) else None
