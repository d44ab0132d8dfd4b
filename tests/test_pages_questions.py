"""What a task asks, on its page and in JSON; and nothing that a job contains gets loose."""

from __future__ import annotations

from datetime import date
from typing import Literal, Self

import pytest
from pydantic import AliasPath, BaseModel, ConfigDict, Field, field_validator, model_validator

from tests.callers import Callers, end
from tests.markup import answered, page_of


class Review(BaseModel):
    """What a reviewer says beside."""

    stars: int = Field(ge=1, le=5, description="One to five")
    remark: str = Field("fine", max_length=1000)
    public: bool = False
    size: Literal["s", "m"] = "m"
    on: date | None = None

    @field_validator("remark")
    @classmethod
    def stumble(cls, value: str) -> str:
        """Have a bug."""
        if value == "bug":
            raise ZeroDivisionError
        return value


@pytest.fixture
def asking(callers: Callers) -> Callers:
    callers.declare(choices=("approve", "decline"), form=Review)
    return callers


def test_a_task_says_what_may_be_answered(asking: Callers) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    page = page_of(asking.get(token))
    assert page.buttons == {("choice", "approve"): "approve", ("choice", "decline"): "decline"}
    key = page.fields.pop("key")
    assert page.fields == {"stars": "", "remark": "fine", "size": "m", "on": "", "by": ""}
    assert page.find("stars").items() >= {"type": "number", "min": "1", "max": "5"}.items()
    assert "required" in page.find("stars")
    assert page.find("on")["type"] == "date"
    assert "One to five" in page.text

    typed = {**page.fields, "key": key, "choice": "decline", "by": "alice"}
    typed |= {"stars": "6", "remark": "no", "public": "on", "size": "s", "on": "soon"}
    page = page_of(asking.send(token, typed), 422)
    assert "Input should be less than or equal to 5" in page.text
    assert "Input should be a valid date" in page.text
    invalid = [given["name"] for _, given in page.tags if "aria-invalid" in given]
    assert invalid == ["stars", "on"]
    assert page.fields == {name: text for name, text in typed.items() if name != "choice"}
    assert asking.rows.get(job_id)["kind"] is None

    typed |= {"stars": "5", "on": "2026-01-02"}
    assert asking.send(token, typed).status == 200
    result = {
        "choice": "decline", "stars": 5, "remark": "no", "public": True, "size": "s",
        "on": "2026-01-02",
    }  # fmt: skip
    assert end(asking, job_id) == ("succeeded", result, None, "alice")


@pytest.mark.parametrize("choice", [{}, {"choice": ""}, {"choice": "perhaps"}])
def test_only_the_choices_may_be_chosen(asking: Callers, choice: dict[str, str]) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    typed = {**page_of(asking.get(token)).fields, "by": "al", "stars": "3", **choice}
    assert "must be one of approve, decline" in page_of(asking.send(token, typed), 422).text
    said = {"by": "al", "stars": 3, **choice}
    fields = {"choice": "must be one of approve, decline"}
    assert asking.post(token, said) == (422, {"error": "invalid", "fields": fields})
    assert asking.rows.get(job_id)["kind"] is None


def test_a_machine_answers_likewise(asking: Callers) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    status, answer = asking.post(token, {"by": "al", "outcome": "succeeded", "result": 1})
    assert (status, sorted(answer["fields"])) == (422, ["choice", "stars"])
    assert asking.post(token, {"by": "bot", "choice": "approve", "stars": 1})[0] == 200
    kind, result, _, by = end(asking, job_id)
    assert (kind, result["choice"], result["stars"], by) == ("succeeded", "approve", 1, "bot")
    # Over is over, whatever is sent.
    assert asking.post(token, {"by": "al"})[1]["error"] == "conflict"


class Pair(BaseModel):
    low: int = 3
    high: int

    @model_validator(mode="after")
    def check(self) -> Self:
        if self.high < self.low:
            message = "low must not be above high"
            raise ValueError(message)
        return self


class Nested(BaseModel):
    where: int = Field(validation_alias=AliasPath("else", "where"))


def test_a_problem_of_no_single_input_stands_above_the_form(callers: Callers) -> None:
    callers.declare(form=Pair)
    token = callers.token(callers.rows.parked(), "decide")
    typed = {**page_of(callers.get(token)).fields, "by": "al", "high": "1", "send": "yes"}
    assert "low must not be above high" in page_of(callers.send(token, typed), 422).text
    callers.declare(form=Nested)
    assert "else: Field required" in page_of(callers.send(token, typed), 422).text


def test_a_form_without_choices_has_one_button(callers: Callers) -> None:
    callers.declare(form=Review)
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    page = page_of(callers.get(token))
    assert page.buttons == {("send", "yes"): "Send"}
    typed = {**page.fields, "stars": "2", "by": "al"}
    for nothing in ({}, {"send": ""}):
        page = page_of(callers.send(token, typed | nothing), 422)
        assert "choose one of the buttons" in page.text
        assert page.fields["stars"] == "2"
    assert callers.send(token, {**typed, "send": "yes"}).status == 200
    assert end(callers, job_id)[1] == {
        "stars": 2, "remark": "fine", "public": False, "size": "m", "on": None
    }  # fmt: skip


def test_an_answer_must_suit_the_result_type_too(callers: Callers) -> None:
    callers.declare(choices=("yes",), result_type=int)
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    typed = {**page_of(callers.get(token)).fields, "by": "al", "choice": "yes"}
    page = page_of(callers.send(token, typed), 422)
    assert "Input should be a valid integer" in page.text
    assert page.fields["by"] == "al"


def test_a_bug_of_the_forms_is_logged_and_not_shown(
    asking: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = asking.rows.parked()
    token = asking.token(job_id, "decide")
    typed = {**page_of(asking.get(token)).fields, "by": "al", "stars": "3", "choice": "approve"}
    response = asking.send(token, {**typed, "remark": "bug"})
    assert "Something is wrong here" in answered(response, 500)
    assert caplog.records[-1].getMessage().startswith(f"Job {job_id}: ")
    assert "ZeroDivisionError" in caplog.text
    said = {"by": "al", "stars": 3, "choice": "approve", "remark": "bug"}
    assert asking.post(token, said) == (500, {"error": "internal"})


# --- Whatever a job contains ----------------------------------------------------------------------

ATTACKS = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onfocus='alert(1)' autofocus='",
    "</textarea><script>alert(1)</script>",
    "</title></style><svg onload=alert(1)>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "\u202e\ufeff\U0001f600",
]


@pytest.mark.parametrize("attack", ATTACKS)
def test_nothing_that_a_job_contains_gets_loose(callers: Callers, attack: str) -> None:
    class Hostile(BaseModel):
        model_config = ConfigDict(alias_generator=lambda name: f"{name} {attack}")

        plain: str = Field(attack, description=attack, title=attack)
        long: str = Field(attack, max_length=1000)
        option: Literal["x", attack] = attack  # type: ignore[valid-type]
        named: str = attack

    callers.declare(choices=(attack, "no"), form=Hostile)
    job_id = callers.rows.parked(
        meta={attack: {attack: [attack]}, "text": attack}, labels=[attack], shadow=attack
    )
    callers.rows.external.signal_progress(job_id, 1, 2, attack)
    token = callers.token(job_id, "decide")
    page = page_of(callers.get(token))
    assert ("choice", attack) in page.buttons
    fields = [f"{name} {attack}" for name in ("plain", "long", "option", "named")]
    assert [page.fields[name] for name in fields] == [attack] * 4
    # What was typed comes back as it was, and so does what is wrong with it.
    typed = {**page.fields, "by": attack, "choice": "?"}
    again = page_of(callers.send(token, typed), 422)
    assert again.fields == {**page.fields, "by": attack}
    assert attack in again.text
    # A name stands in logs: it has no control characters.
    name = attack if attack.isprintable() else "Eve"
    typed["by"] = name

    assert callers.send(token, {**typed, "choice": attack}).status == 200
    assert end(callers, job_id)[1]["choice"] == attack
    over = page_of(callers.get(token))
    assert f"by {name.strip()}" in over.text
