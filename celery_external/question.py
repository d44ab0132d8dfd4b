"""What a person is asked about a job: the choices and the form that its task declares."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from .checks import check_json, check_text
from .errors import OptionError

if TYPE_CHECKING:
    from pydantic import BaseModel

    from .inputs import Input

MAX_CHOICES = 32
MAX_CHOICE_LENGTH = 255
#: What the pages send beside the form's own fields.
RESERVED = frozenset({"choice", "by", "key", "send", "external-reason"})


class AnswerError(ValueError):
    """An answer that the task does not allow; ``problems`` are by the field, "" is the whole."""

    def __init__(self, problems: Mapping[str, str]) -> None:
        super().__init__(problems)
        self.problems = problems


class Question:
    """What a task has declared as its ``choices`` and ``form``.

    Raises:
        OptionError: They cannot be asked for, or pydantic is not installed.
    """

    def __init__(self, choices: Sequence[str] | None, form: Any) -> None:
        self.declared = (choices, form)
        self.choices = () if choices is None else _check_choices(choices)
        self._form: type[BaseModel] | None = None
        self.inputs = () if form is None else self._read_form(form)

    def _read_form(self, form: Any) -> tuple[Input, ...]:
        # Only who declares a form needs these.
        from .inputs import inputs_of  # noqa: PLC0415

        try:
            from pydantic import BaseModel, ValidationError  # noqa: PLC0415
        except ImportError as exc:
            raise OptionError(
                "form", 'needs pydantic: pip install "celery-external[pydantic]"'
            ) from exc
        if not (isinstance(form, type) and issubclass(form, BaseModel)):
            raise OptionError("form", f"must be a pydantic model, not {form!r}")
        try:
            schema = form.model_json_schema()
        except Exception as exc:
            raise OptionError("form", f"pydantic cannot describe {form!r}: {exc}") from exc
        taken = RESERVED & {*form.model_fields, *schema.get("properties", ())}
        if taken:
            raise OptionError("form", f"must not have a field {', '.join(sorted(taken))}")
        self._form, self._invalid = form, ValidationError
        return inputs_of(schema)

    def read(self, typed: Mapping[str, str]) -> dict[str, Any]:
        """An answer as :meth:`check` takes it, from what was typed into the page."""
        fields = {one.name: value for one in self.inputs for value in one.read(typed)}
        return {"choice": typed["choice"], **fields} if "choice" in typed else fields

    def check(self, answer: Any) -> dict[str, Any]:
        """The answer as the job's result: the choice, and the form's fields in JSON.

        Raises:
            AnswerError: It is not one of the choices, or does not fit the form.
        """
        if not isinstance(answer, Mapping):
            raise AnswerError({"": "must be an object"})
        problems: dict[str, str] = {}
        choice = answer.get("choice")
        if self.choices and choice not in self.choices:
            problems["choice"] = f"must be one of {', '.join(self.choices)}"
        fields = self._check_form(answer, problems)
        if problems:
            raise AnswerError(problems)
        return {"choice": choice, **fields} if self.choices else fields

    def _check_form(self, answer: Mapping[str, Any], problems: dict[str, str]) -> dict[str, Any]:
        if self._form is None:
            return {}
        given = {name: value for name, value in answer.items() if name not in RESERVED}
        try:
            # By way of JSON, which is what it was: a strict model takes a date as text only there.
            model = self._form.model_validate_json(json.dumps(given))
        except self._invalid as exc:
            for one in exc.errors(include_url=False, include_context=False, include_input=False):
                problems.setdefault(str(one["loc"][0]) if one["loc"] else "", one["msg"])
            return {}
        try:
            fields: dict[str, Any] = check_json("answer", model.model_dump(mode="json"))
        except OptionError as exc:
            problems[""] = exc.problem
            return {}
        return fields


def _check_choices(choices: Any) -> tuple[str, ...]:
    if isinstance(choices, str) or not isinstance(choices, Sequence):
        raise OptionError("choices", f"must be a sequence of texts, not {choices!r}")
    if not 0 < len(choices) <= MAX_CHOICES:
        raise OptionError("choices", f"there must be 1 to {MAX_CHOICES}, not {len(choices)}")
    for choice in choices:
        if not 0 < len(check_text("choices", choice)) <= MAX_CHOICE_LENGTH:
            raise OptionError("choices", f"each must have 1 to {MAX_CHOICE_LENGTH} characters")
    if len(set(choices)) < len(choices):
        raise OptionError("choices", "must be different")
    return tuple(choices)


def check_question(
    known: Question | None, choices: Sequence[str] | None, form: Any
) -> Question | None:
    """What a task declares, checked as it is made; ``known`` is what its base has declared."""
    if choices is None and form is None:
        return None
    if known is not None and known.declared == (choices, form):
        return known
    return Question(choices, form)


def question_of(task: Any) -> Question | None:
    """What a person is asked about the task's jobs, if it says so."""
    found = getattr(task, "question", None)
    return found if isinstance(found, Question) else None
