"""A person's visit with a token: the page that asks, and what its form says."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from celery_external.inputs import Input
from celery_external.job import Failed, Succeeded
from celery_external.question import AnswerError, Question
from celery_external.tokens import Action, Claims
from celery_external.view import job_from

from .asking import (
    MAX_NAME_LENGTH,
    check_name,
    place_problems,
    question_about,
    read_all,
    read_reason,
    shown_in,
)
from .bodies import read_form
from .exchange import Answer, RefusedError, Request, Response
from .form_keys import form_key, is_form_key
from .outcomes import MAX_REASON_LENGTH
from .pages import show_job
from .telling import end_of, row_of, tell
from .templating import tell_end

if TYPE_CHECKING:
    from celery_external.installation import Installation
    from celery_external.store.database import Row

_NAME = Input("by", "Your name", "text", required=True, attributes={"maxlength": MAX_NAME_LENGTH})
_REASON = Input(
    "reason", "Reason, if it failed", "long_text", required=False,
    attributes={"maxlength": MAX_REASON_LENGTH},
)  # fmt: skip
_COMPLETE = {"succeeded": "Complete"}
_FAIL = {"failed": "Fail"}


@dataclass(frozen=True, slots=True)
class _Form:
    """What the page asks: buttons by the value that each sends as ``name``, and inputs."""

    says: str = ""
    name: str = "outcome"
    buttons: Mapping[str, str] | None = None
    inputs: tuple[Input, ...] = ()
    question: Question | None = None


_FORMS: Mapping[Action, _Form] = {
    "succeed": _Form("The button says that this is done.", buttons=_COMPLETE),
    "fail": _Form(
        "The button says that this has failed.",
        buttons=_FAIL,
        inputs=(replace(_REASON, label="Reason", required=True),),
    ),
    "decide": _Form(
        "Is this done, or has it failed?", buttons=_COMPLETE | _FAIL, inputs=(_REASON,)
    ),
    "view": _Form(),
}


@dataclass(frozen=True, slots=True)
class Visit:
    """One request of a person, who may be logged in."""

    installation: Installation
    claims: Claims
    token: str
    request: Request

    def show(self) -> Response:
        """The page. It changes nothing, whoever or whatever follows the link.

        Raises:
            RefusedError: There is no such job, or it cannot be asked about here.
        """
        return self._page(row_of(self.installation, self.claims))

    def decide(self) -> Answer | Response:
        """What the page's form says, told to the job; or the page again, with what is wrong.

        Raises:
            RefusedError: It did not count.
        """
        typed, row = read_form(self.request), row_of(self.installation, self.claims)
        if not is_form_key(self._keys, typed.get("key", ""), self.token, self.request.by):
            raise RefusedError(403, "form_key")
        form = self._form(row)
        try:
            by, outcome = self._read(form, typed)
        except AnswerError as exc:
            if over := end_of(self.installation.app, self.claims, row):
                raise over from exc
            return self._page(row, 422, typed, exc.problems)
        try:
            return tell(self.installation, self.claims, outcome, by)
        except RefusedError as exc:
            if exc.answer.word != "invalid":
                raise
            return self._page(row, 422, typed, {"": exc.answer.details["problem"]})

    def _read(self, form: _Form, typed: Mapping[str, str]) -> tuple[str, Succeeded | Failed]:
        """Who says what; every problem at once."""
        said = read_all(
            {
                "by": lambda: self.request.by or check_name(typed.get("by")),
                "outcome": lambda: _outcome(form, typed),
            }
        )
        return said["by"], said["outcome"]

    # --- The page ---

    def _page(
        self,
        row: Row,
        status: int = 200,
        typed: Mapping[str, str] | None = None,
        problems: Mapping[str, str] | None = None,
    ) -> Response:
        job, notice = job_from(self.installation.app, row), self._notice(row)
        form = _FORMS["view"] if notice else self._form(row)
        inputs = form.inputs
        if form.buttons and self.request.by is None:
            inputs = (*inputs, _NAME)
        return show_job(
            status,
            name=job.shadow or job.task,
            # Whoever was to judge an earlier attempt is not to see the present one.
            job=job if self._may_see and self.claims.attempt == job.attempt else None,
            notice=notice,
            says=form.says,
            buttons=form.buttons,
            button_name=form.name,
            inputs=inputs,
            shown={one.name: shown_in(one, typed) for one in inputs},
            problems=place_problems(problems or {}, {form.name, *(one.name for one in inputs)}),
            key=form_key(self._keys, self.token, self.request.by) if form.buttons else None,
        )

    def _form(self, row: Row) -> _Form:
        question = None
        if self.claims.action == "decide":
            question = question_about(self.installation, row)
        if question is None:
            return _FORMS[self.claims.action]
        if not question.choices:
            return _Form("", "send", {"yes": "Send"}, question.inputs, question)
        choices = {choice: choice for choice in question.choices}
        return _Form("", "choice", choices, question.inputs, question)

    def _notice(self, row: Row) -> str | None:
        """Why there is nothing to decide any more."""
        if self.claims.attempt != row["attempt"]:
            return "This link belongs to an earlier attempt. A newer one counts."
        if row["kind"] is None:
            return None
        by = row["completed_by"] if self._may_see else None
        return f"This is over: {tell_end(row['kind'], by, row['completed_at'])}."

    @property
    def _may_see(self) -> bool:
        """Whether the token is for somebody who is to judge, and not only to say something."""
        return self.claims.action in {"decide", "view"}

    @property
    def _keys(self) -> tuple[str, ...]:
        return self.installation.settings.secret_keys


def _outcome(form: _Form, typed: Mapping[str, str]) -> Succeeded | Failed:
    question, said = form.question, typed.get(form.name)
    # A question with choices says itself what is wrong, with the fields' problems beside it.
    if said not in (form.buttons or {}) and not (question and question.choices):
        raise AnswerError({form.name: "choose one of the buttons"})
    if question is not None:
        return Succeeded(question.check(question.read(typed)))
    if said == "succeeded":
        return Succeeded()
    return Failed(read_reason(typed, "reason", is_required=True))
