"""What a task asks: checked as it is declared, as a page's inputs, and what is answered."""

from __future__ import annotations

import contextlib
import enum
from datetime import date, datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from uuid import UUID

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, field_validator

from celery_external.inputs import Input
from celery_external.question import AnswerError, Question


class Mood(enum.StrEnum):
    """Words for programmers."""

    GOOD = "good"
    BAD = "bad"


class Stars(enum.IntEnum):
    ONE = 1
    TWO = 2


class Everything(BaseModel):
    """A field of each kind."""

    title: str
    note: str = Field("as is", max_length=500, description="What to know")
    short: str = Field("", max_length=20)
    sure: bool
    agreed: bool = True
    perhaps: bool | None = None
    number: int = Field(3, ge=1, le=5)
    rate: float | None = None
    mood: Mood = Mood.GOOD
    stars: Stars
    size: Literal["s", "m", 3] = "m"
    how: Mood | None = None
    day: date
    price: Decimal = Decimal("1.50")
    at: datetime | None = None
    tags: list[str] = []
    made: list[int] = Field(default_factory=lambda: [7])


QUESTION = Question(("approve", "decline"), Everything)
#: What a browser sends of the page as it is first shown, with what is required.
TYPED = {
    "choice": "approve",
    "title": "A cat",
    "note": "as is",
    "short": "",
    "agreed": "on",
    "perhaps": "",
    "number": "3",
    "rate": "",
    "mood": "good",
    "stars": "2",
    "size": "m",
    "how": "",
    "day": "2026-01-02",
    "price": "1.50",
    "at": "",
    "tags": "[]",
    "made": "",
    "by": "al",
    "key": "x",
}
RESULT = {
    "choice": "approve",
    "title": "A cat",
    "note": "as is",
    "short": "",
    "sure": False,
    "agreed": True,
    "perhaps": None,
    "number": 3,
    "rate": None,
    "mood": "good",
    "stars": 2,
    "size": "m",
    "how": None,
    "day": "2026-01-02",
    "price": "1.50",
    "at": None,
    "tags": [],
    "made": [7],
}


def answer(**typed: str | None) -> Any:
    """What is made of the page, with something else typed; None: not sent."""
    changed: dict[str, Any] = {**TYPED, **typed}
    sent = {name: text for name, text in changed.items() if text is not None}
    return QUESTION.check(QUESTION.read(sent))


def problems(**typed: str | None) -> dict[str, str]:
    with pytest.raises(AnswerError) as caught:
        answer(**typed)
    return dict(caught.value.problems)


# --- Inputs ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "kind", "expected"),
    [
        ("title", "text", {"required": True, "default": None, "label": "Title"}),
        (
            "note",
            "long_text",
            {
                "default": "as is",
                "description": "What to know",
                "attributes": {"maxlength": 500},
                "required": False,
            },
        ),
        ("short", "text", {"attributes": {"maxlength": 20}, "default": ""}),
        ("sure", "checkbox", {"default": False}),
        ("agreed", "checkbox", {"default": True}),
        ("perhaps", "select", {"options": {"yes": True, "no": False}, "nullable": True}),
        (
            "number",
            "integer",
            {"default": "3", "attributes": {"step": 1, "min": 1, "max": 5}},
        ),
        ("rate", "number", {"default": None, "attributes": {"step": "any"}, "nullable": True}),
        (
            "mood",
            "select",
            {
                "options": {"good": "good", "bad": "bad"},
                "default": "good",
                "label": "Mood",
                "description": None,
            },
        ),
        ("stars", "select", {"options": {"1": 1, "2": 2}, "required": True, "default": None}),
        ("size", "select", {"options": {"s": "s", "m": "m", "3": 3}, "default": "m"}),
        ("how", "select", {"nullable": True, "label": "How"}),
        ("day", "date", {"required": True}),
        ("price", "text", {"default": "1.50"}),
        ("at", "text", {"nullable": True}),
        ("tags", "json", {"default": "[]"}),
    ],
)
def test_each_kind_of_field(name: str, kind: str, expected: dict[str, Any]) -> None:
    (one,) = [found for found in QUESTION.inputs if found.name == name]
    assert one.kind == kind
    assert {key: getattr(one, key) for key in expected} == expected


def test_the_inputs_are_in_the_models_order() -> None:
    assert [one.name for one in QUESTION.inputs] == list(Everything.model_fields)
    assert all(isinstance(one, Input) for one in QUESTION.inputs)


# --- Answers --------------------------------------------------------------------------------------


def test_the_page_as_it_is_shown_is_an_answer() -> None:
    assert answer() == RESULT


@pytest.mark.parametrize(
    ("typed", "kept"),
    [
        ({"choice": "decline"}, {"choice": "decline"}),
        ({"sure": "on", "agreed": None}, {"sure": True, "agreed": False}),
        ({"perhaps": "no"}, {"perhaps": False}),
        ({"note": ""}, {"note": ""}),
        ({"note": "a\r\nb"}, {"note": "a\nb"}),
        ({"number": "5", "rate": "2.5"}, {"number": 5, "rate": 2.5}),
        ({"number": None}, {"number": 3}),
        ({"stars": "1", "size": "3", "how": "bad"}, {"stars": 1, "size": 3, "how": "bad"}),
        ({"at": "2026-01-02T03:04:05Z"}, {"at": "2026-01-02T03:04:05Z"}),
        ({"tags": '["a", "b"]', "made": "[1]"}, {"tags": ["a", "b"], "made": [1]}),
        ({"unknown": "x"}, {}),
    ],
)
def test_what_is_typed(typed: dict[str, Any], kept: dict[str, Any]) -> None:
    assert answer(**typed) == {**RESULT, **kept}


@pytest.mark.parametrize(
    ("typed", "name", "problem"),
    [
        ({"choice": None}, "choice", "must be one of approve, decline"),
        ({"choice": "Approve"}, "choice", "must be one of approve, decline"),
        ({"title": ""}, "title", "Field required"),
        ({"note": "x" * 501}, "note", "String should have at most 500 characters"),
        ({"number": ""}, "number", "Input should be a valid integer, unable to parse"),
        ({"number": "6"}, "number", "Input should be less than or equal to 5"),
        ({"number": "9" * 30}, "number", "Input should be less than or equal to 5"),
        ({"rate": "much"}, "rate", "Input should be a valid number"),
        ({"rate": "nan"}, "", "nan is not JSON"),
        ({"stars": ""}, "stars", "Field required"),
        ({"stars": "3"}, "stars", "Input should be 1 or 2"),
        ({"size": "xl"}, "size", "Input should be 's', 'm' or 3"),
        ({"day": "tomorrow"}, "day", "Input should be a valid date"),
        ({"tags": "[" * 9999}, "tags", "Input should be a valid array"),
        ({"tags": "[1]"}, "tags", "Input should be a valid string"),
        ({"title": "\x00"}, "", "must not contain NUL characters"),
        ({"title": "\ud800"}, "", "Invalid JSON: "),
    ],
)
def test_what_cannot_be_an_answer(typed: dict[str, Any], name: str, problem: str) -> None:
    found = problems(**typed)
    assert list(found) == [name]
    assert found[name].startswith(problem)


def test_every_problem_is_named_at_once() -> None:
    assert sorted(problems(choice="x", title="", day="")) == ["choice", "day", "title"]


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(st.sampled_from(list(TYPED)), st.text(max_size=20)))
def test_whatever_is_typed_is_an_answer_or_a_problem(typed: dict[str, str]) -> None:
    with contextlib.suppress(AnswerError):
        assert answer(**typed).keys() == RESULT.keys()


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@settings(max_examples=200, deadline=None)
@given(JSON_VALUES | st.dictionaries(st.sampled_from(list(TYPED)), JSON_VALUES))
def test_whatever_is_sent_is_an_answer_or_a_problem(sent: Any) -> None:
    with contextlib.suppress(AnswerError):
        assert QUESTION.check(sent).keys() == RESULT.keys()


@pytest.mark.parametrize("sent", [None, [], "approve", 5])
def test_an_answer_is_an_object(sent: Any) -> None:
    with pytest.raises(AnswerError, match="must be an object"):
        QUESTION.check(sent)


def test_choices_alone_and_a_form_alone() -> None:
    assert Question(["yes", "no"], None).check({"choice": "no", "by": "al"}) == {"choice": "no"}

    class Note(BaseModel):
        text: str

    assert Question(None, Note).check({"text": "x", "choice": "ignored"}) == {"text": "x"}


class Strict(BaseModel):
    model_config = ConfigDict(strict=True, extra="forbid")

    number: int
    day: date
    when: datetime | None = None
    id: UUID | None = None
    rate: float = 1.0


def test_a_strict_model_can_be_answered_from_a_page() -> None:
    typed = {"number": "5", "day": "2026-01-02", "when": "", "id": str(UUID(int=5)), "rate": "2"}
    question = Question(None, Strict)
    assert question.check(question.read(typed)) == {
        "number": 5, "day": "2026-01-02", "when": None, "id": str(UUID(int=5)), "rate": 2.0
    }  # fmt: skip
    with pytest.raises(AnswerError) as caught:
        question.check({"number": 5, "day": "2026-01-02", "by": "al", "more": 1})
    assert caught.value.problems == {"more": "Extra inputs are not permitted"}


class Named(BaseModel):
    width: int = Field(alias="the width")
    checked: Annotated[str, Field(min_length=3)]

    @field_validator("checked")
    @classmethod
    def check(cls, value: str) -> str:
        if value == "forbidden":
            message = "is not allowed"
            raise ValueError(message)
        return value


def test_a_field_is_asked_for_by_its_alias_and_kept_by_its_name() -> None:
    question = Question(None, Named)
    assert [one.name for one in question.inputs] == ["the width", "checked"]
    typed = {"the width": "5", "checked": "abc"}
    assert question.check(question.read(typed)) == {"width": 5, "checked": "abc"}
    with pytest.raises(AnswerError) as caught:
        question.check({"the width": "x", "checked": "forbidden"})
    assert list(caught.value.problems) == ["the width", "checked"]
    assert caught.value.problems["checked"] == "Value error, is not allowed"
