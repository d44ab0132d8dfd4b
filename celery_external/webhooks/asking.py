"""What is asked of whoever decides: the task's question, and a name for the history."""

from __future__ import annotations

import logging
import unicodedata
from collections.abc import Callable, Collection, Mapping
from typing import TYPE_CHECKING, Any

from celery_external.checks import check_text
from celery_external.errors import OptionError
from celery_external.inputs import Input
from celery_external.logs import name_job
from celery_external.question import AnswerError, Question, question_of

from .exchange import RefusedError
from .outcomes import MAX_REASON_LENGTH

if TYPE_CHECKING:
    from celery_external.installation import Installation
    from celery_external.store.database import Row

logger = logging.getLogger("celery_external")

MAX_NAME_LENGTH = 255


def question_about(installation: Installation, row: Row) -> Question | None:
    """What the job's task asks; None: to complete it or to fail it.

    Raises:
        RefusedError: 500: this process does not know the task, so it cannot tell what is allowed.
    """
    task = installation.app.tasks.get(row["task"])
    if task is None:
        logger.error(
            "Job %s: nobody can decide it here, because its task's choices and form are not known. "
            "Import the module of %s in this process",
            row["id"],
            row["task"],
            extra=name_job(row),
        )
        raise RefusedError(500, "internal")
    return question_of(task)


def check_name(given: object) -> str:
    """Who somebody who is not logged in says to be.

    Raises:
        AnswerError: Nobody, or what the history cannot keep.
    """
    try:
        name = check_text("by", given).strip()
    except OptionError as exc:
        problem = "is required" if given is None else exc.problem
        raise AnswerError({"by": problem}) from exc
    if not 0 < len(name) <= MAX_NAME_LENGTH:
        raise AnswerError({"by": f"must have 1 to {MAX_NAME_LENGTH} characters"})
    # It is logged, where the end of a line would begin another one.
    if not _as_plain_spaces(name).isprintable():
        raise AnswerError({"by": "must not contain control characters"})
    return name


def read_reason(typed: Mapping[str, str], name: str, *, is_required: bool) -> str:
    """The reason that was typed into the input of this name; empty: none was.

    Raises:
        AnswerError: There is none where one is needed, or it is too long.
    """
    reason = typed.get(name, "").replace("\r\n", "\n").strip()
    if not reason and is_required:
        raise AnswerError({name: "is required"})
    if len(reason) > MAX_REASON_LENGTH:
        raise AnswerError({name: f"must have at most {MAX_REASON_LENGTH} characters"})
    return reason


def read_all(readers: Mapping[str, Callable[[], Any]]) -> dict[str, Any]:
    """What each of them gives, by its name.

    Raises:
        AnswerError: With every problem at once.
    """
    found: dict[str, Any] = {}
    problems: dict[str, str] = {}
    for name, read in readers.items():
        try:
            found[name] = read()
        except AnswerError as exc:
            problems.update(exc.problems)
    if problems:
        raise AnswerError(problems)
    return found


def place_problems(problems: Mapping[str, str], places: Collection[str]) -> dict[str, str]:
    """Each problem where the page has a place for it, the others above the form."""
    placed = {name: problem for name, problem in problems.items() if name in places}
    others = [
        f"{name}: {problem}" if name else problem
        for name, problem in problems.items()
        if name not in places
    ]
    return {"": "; ".join(others), **placed} if others else placed


def shown_in(one: Input, typed: Mapping[str, str] | None) -> Any:
    """What an input shows: what was typed, or its default."""
    if typed is None:
        return one.default
    return one.name in typed if one.kind == "checkbox" else typed.get(one.name, "")


def _as_plain_spaces(text: str) -> str:
    """The text, with every space a plain one: names have wide ones and such that do not break."""
    return "".join(" " if unicodedata.category(one) == "Zs" else one for one in text)
