"""The list of jobs: found by all filters, page by page, and decided several at once."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from celery_external.errors import DatabaseUnavailableError, OptionError
from celery_external.job import Page
from celery_external.question import AnswerError
from celery_external.webhooks.asking import read_all, shown_in
from celery_external.webhooks.exchange import RefusedError

from .decisions import (
    ACTIONS,
    AMOUNT_INPUT,
    REASON_INPUT,
    UNIT_INPUT,
    Decision,
    Done,
    decide,
    decision_readers,
    question_about,
    read_attempt,
)
from .exchange import Response
from .rendering import show
from .search import FIRST, LIMITS, MORE, ORDERS, Search
from .visit import Visit

logger = logging.getLogger("celery_external")

#: Jobs that are decided at once; a page has no more.
MAX_SELECTED: Final = LIMITS[-1]


@dataclass(frozen=True, slots=True)
class Refusal:
    """A form that was sent and did not count: what was typed and ticked, and what is wrong."""

    typed: Mapping[str, str] | None = None
    problems: Mapping[str, str] = field(default_factory=dict)
    picked: frozenset[tuple[str, int]] = frozenset()


def show_list(visit: Visit) -> Response:
    """The page."""
    return _show(visit, Search.of(visit.request.pairs))


def decide_selection(visit: Visit) -> Response:
    """Do to each selected job what was said, and tell what became of it.

    Raises:
        RefusedError: The form was not theirs to send, or is none of ours.
    """
    search, pairs = Search.of(visit.request.pairs), visit.read_form()
    typed, picked = dict(pairs), [_read_pick(v) for k, v in pairs if k == "pick"]
    try:
        decision = _read_decision(visit, typed, picked)
    except AnswerError as exc:
        return _show(visit, search, Refusal(typed, exc.problems, frozenset(picked)))
    done = _decide_each(visit, decision, list(dict.fromkeys(picked)))
    return show(
        visit,
        "decided.html",
        action=ACTIONS[decision.action],
        done=done,
        refused=[one for one in done if one.word == "refused"],
        back=f"{visit.link('/jobs')}?{search.write()}",
    )


def _show(visit: Visit, search: Search, refusal: Refusal | None = None) -> Response:
    page, count, problems = _find(visit, search)
    names = {one.name for one in (*FIRST, *MORE)}
    sent = refusal or Refusal()
    inputs = (REASON_INPUT, AMOUNT_INPUT, UNIT_INPUT)
    return show(
        visit,
        "list.html",
        422 if problems or refusal else 200,
        search=search,
        first=FIRST,
        more=MORE,
        shown={one.name: shown_in(one, search.typed) for one in (*FIRST, *MORE)},
        problems=problems,
        general="; ".join(f"{k}: {v}" for k, v in problems.items() if k not in names),
        orders=ORDERS,
        limits=LIMITS,
        page=page,
        count=count,
        actions=ACTIONS,
        inputs={one.name: one for one in inputs},
        values={one.name: shown_in(one, sent.typed) for one in inputs},
        wrong=sent.problems,
        picked=sent.picked,
    )


def _find(visit: Visit, search: Search) -> tuple[Page, Any, dict[str, str]]:
    """The jobs, how many there are, and what is wrong with the filters."""
    filters, problems = search.read()
    if not problems:
        try:
            page = visit.external.find_jobs(
                **filters, order=search.order, limit=search.limit, after=search.after
            )
            return page, visit.external.count_jobs(**filters), {}
        except OptionError as exc:
            problems = {exc.name: exc.problem}
    return Page(()), None, problems


def _read_decision(
    visit: Visit, typed: Mapping[str, str], picked: list[tuple[str, int]]
) -> Decision:
    """What was said of them; every problem at once."""
    action = typed.get("do", "")
    said = read_all(
        {"pick": lambda: _check_pick(action, len(picked)), **decision_readers(action, typed)}
    )
    return Decision(action, visit.user, said["reason"], seconds=said.get("seconds"))


def _check_pick(action: str, number: int) -> None:
    if action not in ACTIONS:
        raise AnswerError({"pick": "Press one of the buttons"})
    if not 0 < number <= MAX_SELECTED:
        raise AnswerError({"pick": f"Select 1 to {MAX_SELECTED} jobs first"})


def _decide_each(visit: Visit, decision: Decision, picked: list[tuple[str, int]]) -> list[Done]:
    """What became of each; what was recorded before the database went away is told all the same."""
    done: list[Done] = []
    try:
        for one in picked:
            done.append(_decide_one(visit, decision, *one))  # noqa: PERF401 - kept when one raises
    except DatabaseUnavailableError as exc:
        logger.error("Dashboard: %s", exc)  # noqa: TRY400 - the message says it all
        # Each of the others would wait for the database as long again.
        away = "The jobs' database is away. Please try again in a moment."
        done += [Done(job_id, "refused", 503, away) for job_id, _ in picked[len(done) :]]
    return done


def _decide_one(visit: Visit, decision: Decision, job_id: str, attempt: int) -> Done:
    if decision.action == "approve":
        try:
            question = question_about(visit.external, job_id)
        except OptionError as exc:
            return Done(job_id, "refused", 422, f"It cannot be done: {exc.problem}.")
        if question is not None:
            return Done(job_id, "refused", 422, "Its task asks for an answer: open the job.")
    return decide(visit.external, job_id, attempt, decision)


def _read_pick(value: str) -> tuple[str, int]:
    """A job that was ticked, and the attempt that the page showed."""
    number, colon, job_id = value.partition(":")
    attempt = read_attempt(number)
    if not colon or attempt is None:
        raise RefusedError(422, "invalid", problem="A selected job is none")
    return job_id, attempt
