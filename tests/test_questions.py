"""What a task may ask is checked as the task is declared."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from datetime import date
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, ConfigDict, Field

from celery_external import ExternalTask, OptionError
from celery_external.question import Question
from tests.processes import REPOSITORY
from tests.test_forms import Everything, Stars, Strict


def test_a_task_declares_what_is_asked() -> None:
    class Ask(ExternalTask):
        choices: ClassVar[Sequence[str] | None] = ("yes", "no")
        form: ClassVar[type[BaseModel] | None] = Everything

    class Same(Ask):
        pass

    class Other(Ask):
        choices = ("maybe",)

    class Neither(Ask):
        choices = None
        form = None

    assert Ask.question is not None
    assert Ask.question.choices == ("yes", "no")
    assert Same.question is Ask.question
    assert Other.question is not None
    assert Other.question.choices == ("maybe",)
    assert Neither.question is None
    assert ExternalTask.question is None


class Taken(BaseModel):
    by: str


class TakenByTheButton(BaseModel):
    send: bool


class TakenByAlias(BaseModel):
    who: str = Field(alias="choice")


class Undescribed(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)

    what: object = Field(default_factory=object)
    how: type[Any] | Stars
    when: Question


@pytest.mark.parametrize(
    ("declared", "problem"),
    [
        ({"choices": "yes"}, "choices: must be a sequence of texts, not 'yes'"),
        ({"choices": {"yes"}}, "choices: must be a sequence of texts, not {'yes'}"),
        ({"choices": ()}, "choices: there must be 1 to 32, not 0"),
        ({"choices": ["x"] * 33}, "choices: there must be 1 to 32, not 33"),
        ({"choices": ["x", "x"]}, "choices: must be different"),
        ({"choices": [""]}, "choices: each must have 1 to 255 characters"),
        ({"choices": [5]}, "choices: must be a text, not 5"),
        ({"choices": ["\x00"]}, "choices: must not contain NUL characters"),
        ({"form": dict}, "form: must be a pydantic model, not <class 'dict'>"),
        ({"form": Strict(number=1, day=date.min)}, "form: must be a pydantic model, not Strict("),
        ({"form": Taken}, "form: must not have a field by"),
        ({"form": TakenByTheButton}, "form: must not have a field send"),
        ({"form": TakenByAlias}, "form: must not have a field choice"),
        ({"form": Undescribed}, "form: pydantic cannot describe <class "),
    ],
)
def test_what_cannot_be_asked_is_refused_as_the_task_is_made(
    declared: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OptionError) as caught:
        type("Ask", (ExternalTask,), declared)
    assert str(caught.value).startswith(problem)


def test_only_a_form_needs_pydantic() -> None:
    code = """
import sys
sys.modules["pydantic"] = None
from celery_external import ExternalTask
class Ask(ExternalTask):
    choices = ("yes", "no")
try:
    class Form(ExternalTask):
        form = dict
except Exception as exc:
    print(exc)
"""
    run = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    assert run.stdout == 'form: needs pydantic: pip install "celery-external[pydantic]"\n'
