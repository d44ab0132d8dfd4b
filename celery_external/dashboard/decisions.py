"""What people do to jobs here, and what became of it, in words for them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from celery_external.acting import act
from celery_external.errors import (
    ExternalError,
    JobAlreadyCompletedError,
    JobNotFoundError,
    OptionError,
    RerunRefusedError,
    ResultInvalidError,
    StaleAttemptError,
    UnserializableError,
)
from celery_external.extension import External
from celery_external.glance import glance_at
from celery_external.inputs import Input
from celery_external.installation import installation_of
from celery_external.job import Receipt
from celery_external.logs import name_job
from celery_external.naming import known_id, require_row
from celery_external.question import AnswerError, Question, question_of
from celery_external.webhooks.asking import read_reason
from celery_external.webhooks.outcomes import MAX_REASON_LENGTH
from celery_external.webhooks.templating import tell_end

logger = logging.getLogger("celery_external")

#: What may be done: the word in a URL, and the one on a button.
ACTIONS: Final[Mapping[str, str]] = {
    "approve": "Approve",
    "decline": "Decline",
    "extend": "Extend",
    "cancel": "Cancel",
    "rerun": "Run again",
}
#: The task's own form would have no field of this name.
REASON: Final = "external-reason"
#: Of an attempt's number: none has more.
_MAX_DIGITS = 9
UNITS: Final[Mapping[str, int]] = {"minutes": 60, "hours": 3600, "days": 86400}

#: The inputs that several actions have.
REASON_INPUT: Final = Input(
    REASON,
    "Reason, for the history",
    "long_text",
    required=False,
    attributes={"maxlength": MAX_REASON_LENGTH},
)
AMOUNT_INPUT: Final = Input("amount", "Wait from now", "number", required=True,
                            attributes={"step": "any", "min": 0})  # fmt: skip
UNIT_INPUT: Final = Input("unit", "Unit", "select", required=True, default="hours",
                          options=dict.fromkeys(UNITS, ""))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Decision:
    """What somebody says about jobs; ``seconds`` is for how long to extend."""

    action: str
    by: str
    reason: str | None = None
    result: Any = None
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it: ``applied``, ``duplicate`` or ``refused``, and for people why."""

    job_id: str
    word: str
    status: int = 200
    problem: str | None = None


def read_attempt(text: str) -> int | None:
    """An attempt's number; None: it is none."""
    is_number = text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS
    return int(text) if is_number else None


def decision_readers(action: str, typed: Mapping[str, str]) -> dict[str, Callable[[], Any]]:
    """What reads the parts of a :class:`Decision` that every form asks for alike."""
    is_required = action == "decline"
    readers: dict[str, Callable[[], Any]] = {
        "reason": lambda: read_reason(typed, REASON, is_required=is_required) or None
    }
    if action == "extend":
        readers["seconds"] = lambda: _read_seconds(typed)
    return readers


def _read_seconds(typed: Mapping[str, str]) -> float:
    """For how long to wait from now.

    Raises:
        AnswerError: It is no length of time.
    """
    try:
        seconds = float(typed.get("amount", "")) * UNITS[typed.get("unit", "hours")]
    except (KeyError, ValueError) as exc:
        raise AnswerError({"amount": "must be a number, and a unit"}) from exc
    if not 0 < seconds < float("inf"):
        raise AnswerError({"amount": "must be more than 0"})
    return seconds


def question_for(external: External, task_name: str) -> Question | None:
    """What the task asks of whoever approves.

    Raises:
        OptionError: This process does not know the task.
    """
    task = external.app.tasks.get(task_name)
    if task is None:
        raise OptionError(
            "task",
            f"{task_name} is not known in this process, so it cannot be said what it asks for. "
            "Have the process import the task's module",
        )
    return question_of(task)


def question_about(external: External, job_id: str) -> Question | None:
    """What the job's task asks; None also for a job that nobody knows: who decides it is told.

    Raises:
        OptionError: This process does not know the task.
    """
    installation = installation_of(external.app)
    try:
        row = require_row(installation, installation.database, known_id(installation, job_id))
    except JobNotFoundError:
        return None
    return question_for(external, row["task"])


def decide(external: External, job_id: str, attempt: int, decision: Decision) -> Done:
    """Say it of one attempt; what is refused is told, and not raised.

    Raises:
        DatabaseUnavailableError: Nothing was recorded.
    """
    try:
        said = act(
            external,
            decision.action,
            job_id,
            attempt,
            by=decision.by,
            reason=decision.reason,
            result=decision.result,
            timeout=decision.seconds,
        )
    except tuple(_REFUSALS) as exc:
        status, tell = _REFUSALS[type(exc)]
        if _is_repeated(external, exc, decision):
            return Done(job_id, "duplicate")
        return Done(job_id, "refused", status, tell(exc))
    logger.info(
        "Job %s: %s by %s on the dashboard",
        job_id,
        decision.action,
        decision.by,
        extra=name_job(job_id),
    )
    return Done(job_id, said.status if isinstance(said, Receipt) else "applied")


def _tell_completed(exc: Any) -> str:
    job = exc.job
    end = tell_end(job.kind or "completed", job.completed_by, job.completed_at)
    return f"It is over already: {end}."


def tell_stale(exc: StaleAttemptError) -> str:
    """For people: the page that they saw was of an attempt that is over."""
    return (
        f"The page showed attempt {exc.attempt}, but attempt {exc.current} is on by now. "
        "Look at it before you decide."
    )


def _tell_problem(exc: Any) -> str:
    return f"It cannot be done: {exc.problem}."


_REFUSALS: Final[Mapping[type[ExternalError], tuple[int, Callable[[Any], str]]]] = {
    JobNotFoundError: (404, lambda _: "It is not kept any more."),
    StaleAttemptError: (409, tell_stale),
    JobAlreadyCompletedError: (409, _tell_completed),
    RerunRefusedError: (409, _tell_problem),
    OptionError: (422, _tell_problem),
    ResultInvalidError: (422, _tell_problem),
    UnserializableError: (422, _tell_problem),
}


def _is_repeated(external: External, exc: ExternalError, said: Decision) -> bool:
    """Whether a second click has come after the first one, which made a new attempt."""
    if not isinstance(exc, StaleAttemptError) or said.action != "rerun":
        return False
    seen = glance_at(installation_of(external.app), exc.job_id)
    return any(
        line.event == "rerun" and (line.attempt, line.by) == (exc.attempt + 1, said.by)
        for line in seen.job.history
    )
