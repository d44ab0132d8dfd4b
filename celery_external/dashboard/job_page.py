"""A job's page: all that is known of it, and the forms of whoever may decide."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from celery_external import states, strict_json
from celery_external.errors import JobNotFoundError, OptionError, StaleAttemptError
from celery_external.glance import Glance, glance_at
from celery_external.inputs import Input
from celery_external.installation import installation_of
from celery_external.job import HistoryEntry, Job
from celery_external.question import AnswerError, Question
from celery_external.webhooks.asking import place_problems, read_all, shown_in
from celery_external.webhooks.exchange import RefusedError

from .decisions import (
    ACTIONS,
    AMOUNT_INPUT,
    REASON_INPUT,
    UNIT_INPUT,
    Decision,
    decide,
    decision_readers,
    question_about,
    question_for,
    read_attempt,
    tell_stale,
)
from .exchange import Response, redirect
from .onward import read_onward
from .rendering import show
from .visit import Visit

#: Of a canvas, on one page.
MAX_RELATIVES: Final = 50
#: Of attempts, on one page: the newest.
MAX_ATTEMPTS: Final = 50
#: Of meta, on one page.
MAX_KEYS: Final = 100
_RESULT: Final = Input("result", "Result", "json", required=False,
                       description="JSON that the task returns; empty: null")  # fmt: skip
#: What a history says of an attempt's end.
_ENDS: Final = frozenset(states.STATE_OF_OUTCOME)
#: What a page says after it was sent.
_SAID: Final[Mapping[str, str]] = {
    "applied": "Recorded.",
    "duplicate": "Recorded. The same had been recorded before.",
}


@dataclass(frozen=True, slots=True)
class Form:
    """A form of the page: its buttons by the value that each sends as ``name``, its inputs."""

    action: str
    title: str
    says: str
    inputs: tuple[Input, ...]
    buttons: Mapping[str, str]
    name: str = "send"
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Attempt:
    """One attempt of a job, and how it ended."""

    number: int
    started_at: datetime | None
    parked_at: datetime | None
    completed_at: datetime | None
    reference: str | None
    end: str | None


@dataclass(frozen=True, slots=True)
class Refusal:
    """A form that was sent and did not count: what was typed, and what is wrong with it."""

    action: str
    attempt: int
    typed: Mapping[str, str]
    problems: Mapping[str, str]
    status: int = 422


def show_job(visit: Visit) -> Response:
    """The page."""
    query = dict(visit.request.pairs)
    return _show(visit, query.get("id", ""), said=_SAID.get(query.get("said", "")))


def decide_job(visit: Visit) -> Response:
    """Do to the job what a form of the page says, or show the page again with what is wrong.

    Raises:
        RefusedError: The form was not theirs to send, or is none of ours.
    """
    query, typed = dict(visit.request.pairs), dict(visit.read_form())
    job_id, action, number = query.get("id", ""), query.get("do", ""), query.get("attempt", "")
    attempt = read_attempt(number)
    if action not in ACTIONS or attempt is None:
        raise RefusedError(422, "invalid", problem="The form is none of ours")
    try:
        decision = _read_decision(visit, job_id, action, typed)
    except AnswerError as exc:
        return _show(visit, job_id, Refusal(action, attempt, typed, exc.problems))
    done = decide(visit.external, job_id, attempt, decision)
    if done.word == "refused":
        problems = {"": done.problem or ""}
        return _show(visit, job_id, Refusal(action, attempt, typed, problems, done.status))
    return redirect(visit.link("/job", id=job_id, said=done.word))


def _read_decision(visit: Visit, job_id: str, action: str, typed: Mapping[str, str]) -> Decision:
    """What was typed; every problem at once."""
    if not (typed.get("send") or "choice" in typed):
        raise AnswerError({"": "Press one of the buttons"})
    readers = decision_readers(action, typed)
    if action == "approve":
        readers["result"] = lambda: _read_result(visit, job_id, typed)
    return Decision(action, visit.user, **read_all(readers))


def _read_result(visit: Visit, job_id: str, typed: Mapping[str, str]) -> Any:
    """What the task is to return: an answer to its question, or JSON."""
    try:
        question = question_about(visit.external, job_id)
    except OptionError as exc:
        raise AnswerError({"": exc.problem}) from exc
    if question is not None:
        return question.check(question.read(typed))
    text = typed.get(_RESULT.name, "").strip()
    try:
        return strict_json.load(text) if text else None
    except ValueError as exc:
        raise AnswerError({_RESULT.name: f"is no JSON: {exc}"}) from exc


# --- The page -------------------------------------------------------------------------------------


def _show(
    visit: Visit, job_id: str, refusal: Refusal | None = None, *, said: str | None = None
) -> Response:
    try:
        seen = glance_at(installation_of(visit.app), job_id)
    except JobNotFoundError as exc:
        # Its own words name the database's host, which is not for whoever may only look.
        raise RefusedError(404, "not_found") from exc
    job = seen.job
    if refusal is not None and refusal.attempt != job.attempt:
        # The page's forms are the new attempt's from here on: whoever sends one again must know.
        stale = tell_stale(StaleAttemptError(job.id, refusal.attempt, job.attempt))
        refusal = replace(refusal, problems={"": stale}, status=409)
    forms, ignorance = _forms(visit, job)
    relatives, attempts = _find_relatives(visit, job), _attempts(seen)[-MAX_ATTEMPTS:]
    sent = refusal.action if refusal else None
    return show(
        visit,
        "job.html",
        refusal.status if refusal else 200,
        job=job,
        name=job.shadow or job.task,
        waiting=_tell_waiting(job),
        meta=list(job.meta.items())[:MAX_KEYS],
        more_meta=max(0, len(job.meta) - MAX_KEYS),
        onward=read_onward(visit.app, seen.row),
        relatives=relatives,
        linked={one.id for one in relatives},
        attempts=attempts,
        more_attempts=attempts[0].number - 1,
        lines=job.history,
        is_cut=seen.is_cut,
        all_lines=seen.lines,
        forms=[replace(form, is_open=form.is_open or form.action == sent) for form in forms],
        ignorance=ignorance,
        values={form.action: _values(form, refusal) for form in forms},
        said=said,
        **_place(forms, refusal),
        here=visit.link("/job", id=job.id),
        is_live=("live", "1") in visit.request.pairs,
    )


def _place(forms: Sequence[Form], refusal: Refusal | None) -> dict[str, Any]:
    """The problems by their forms, or by themselves where the form is no more."""
    if refusal is None:
        return {"wrong": {}, "lost": None}
    form = next((one for one in forms if one.action == refusal.action), None)
    if form is None:
        return {"wrong": {}, "lost": refusal.problems}
    places = {form.name, *(one.name for one in form.inputs)}
    return {"wrong": {form.action: place_problems(refusal.problems, places)}, "lost": None}


def _values(form: Form, refusal: Refusal | None) -> dict[str, Any]:
    typed = refusal.typed if refusal is not None and refusal.action == form.action else None
    return {one.name: shown_in(one, typed) for one in form.inputs}


def _forms(visit: Visit, job: Job) -> tuple[list[Form], str | None]:
    """What can be done to the job now, and why it cannot be approved, if that is so."""
    if not visit.may_decide:
        return [], None
    if not job.is_open:
        is_rerun = job.state in {states.FAILURE, states.REVOKED}
        return ([_RERUN] if is_rerun else []), None
    forms, ignorance = [], None
    try:
        question = question_for(visit.external, job.task)
    except OptionError as exc:
        ignorance, question = exc.problem, None
    else:
        forms.append(_approval(question))
    # Of a task with choices, to decline may be one of them, and is a success.
    forms += [_DECLINE if question is None else _FAIL, _EXTEND, _CANCEL]
    if job.state == states.PARKED:
        forms.append(_RERUN)
    return forms, ignorance


def _approval(question: Question | None) -> Form:
    if question is None:
        says = "The task succeeds with this result, and what comes after it goes on."
        return Form(
            "approve", "Approve", says, (_RESULT, REASON_INPUT), {"yes": "Approve"}, is_open=True
        )
    choices = {choice: choice for choice in question.choices}
    return Form(
        "approve", "Answer", "The task succeeds with this answer, and what comes after it goes on.",
        (*question.inputs, REASON_INPUT), choices or {"yes": "Send"},
        "choice" if choices else "send", is_open=True,
    )  # fmt: skip


_DECLINE = Form(
    "decline", "Decline", "The task fails, with this reason.",
    (replace(REASON_INPUT, label="Reason", required=True),), {"yes": "Decline"},
)  # fmt: skip
_FAIL = replace(
    _DECLINE, title="Fail", says="The task fails, with this reason and without an answer.",
    buttons={"yes": "Fail"},
)  # fmt: skip
_EXTEND = Form(
    "extend", "Extend", "The job waits until then, whatever its deadline was.",
    (AMOUNT_INPUT, UNIT_INPUT, REASON_INPUT), {"yes": "Extend"},
)  # fmt: skip
_CANCEL = Form(
    "cancel", "Cancel", "The job is called off for good, and nothing comes after it.",
    (REASON_INPUT,), {"yes": "Cancel the job"},
)  # fmt: skip
_RERUN = Form(
    "rerun", "Run again", "The trigger runs again, as a new attempt; this one is over.",
    (REASON_INPUT,), {"yes": "Run again"},
)  # fmt: skip


def _tell_waiting(job: Job) -> tuple[str, datetime | None] | None:
    """What the job waits for, and since when; None: for nothing any more."""
    if not job.is_open:
        if job.settled:
            return None
        return "Celery, which has not taken the outcome yet", job.completed_at
    if job.state == states.PARKED:
        what = f"the outside world, where it is {job.reference}" if job.reference else "an outcome"
        return what, job.parked_at
    if job.state == states.STARTED:
        return "the end of its trigger, which runs on a worker", job.started_at
    return "a worker", job.created_at if job.state == states.PENDING else None


def _find_relatives(visit: Visit, job: Job) -> list[Job]:
    """The other jobs of the canvas, the oldest first."""
    if job.root_id is None:
        return []
    page = visit.external.find_jobs(root_id=job.root_id, order="created", limit=MAX_RELATIVES + 1)
    return [one for one in page if one.id != job.id][:MAX_RELATIVES]


def _attempts(seen: Glance) -> list[Attempt]:
    """Those that are over, as the end of the history has them, and the one that is on."""
    job = seen.job
    ends: dict[int, str] = {}
    over: list[tuple[int, HistoryEntry]] = []
    for line in job.history:
        if line.event in _ENDS:
            ends[line.attempt] = line.event
        if "started_at" in line.details:
            over.append((int(line.details.get("attempt", line.attempt - 1)), line))
    if seen.is_cut:
        # How the first of them has ended may stand in what was not read.
        over = over[1:]
    found = [_ended(line, number, ends.get(number, line.event)) for number, line in over]
    now = Attempt(
        job.attempt, job.started_at, job.parked_at, job.completed_at, job.reference, job.kind
    )
    return [*found, now]


def _ended(line: HistoryEntry, number: int, end: str) -> Attempt:
    times = {
        name: datetime.fromisoformat(line.details[name]) if line.details.get(name) else None
        for name in ("started_at", "parked_at", "completed_at")
    }
    return Attempt(number, **times, reference=line.details.get("reference"), end=end)
