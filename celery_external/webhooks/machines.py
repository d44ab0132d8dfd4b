"""A machine's call with a token: JSON in, an outcome told, JSON out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery_external import redeeming
from celery_external.job import Succeeded
from celery_external.logs import name_job
from celery_external.question import AnswerError
from celery_external.tokens import Action, Claims
from celery_external.view import job_from

from .asking import check_name, question_about
from .bodies import read_json
from .exchange import Answer, RefusedError, Request
from .outcomes import ALLOWED, JobMapping, Outcome, ask_mapping, by_default
from .telling import end_of, row_of, tell

if TYPE_CHECKING:
    from celery_external.installation import Installation
    from celery_external.store.database import Row

#: Who said it where no one is named.
NOBODY = "callback"


def take(
    installation: Installation, mapping: JobMapping | None, claims: Claims, request: Request
) -> Answer:
    """Have the job told what the body says.

    Raises:
        RefusedError: It did not count.
        TokenRefusedError: The token does not allow what the body says.
    """
    body, row = read_json(request), row_of(installation, claims)
    question = question_about(installation, row) if claims.action == "decide" else None
    try:
        by = _by(claims, body, request, is_named=question is not None or mapping is None)
        if question is not None:
            outcome: Outcome | None = Succeeded(question.check(body))
        else:
            outcome = _outcome(installation, mapping, claims, row, body)
    except AnswerError as exc:
        if over := end_of(installation.app, claims, row):
            raise over from exc
        raise RefusedError(422, "invalid", fields=dict(exc.problems)) from exc
    if outcome is None:
        return Answer(200, "ignored")
    if not isinstance(outcome, ALLOWED[claims.action]):
        wanted: Action = "fail" if claims.action == "succeed" else "succeed"
        redeeming.check_claims(installation, claims, [wanted], by=by)
    return tell(installation, claims, outcome, by)


def _outcome(
    installation: Installation,
    mapping: JobMapping | None,
    claims: Claims,
    row: Row,
    body: Any,
) -> Outcome | None:
    if mapping is None:
        return by_default(claims.action, body)
    job = job_from(installation.app, row)
    return ask_mapping(f"Job {job.id}", mapping, job, body, extra=name_job(job))


def _by(claims: Claims, body: Any, request: Request, *, is_named: bool) -> str:
    """The framework's user. Else a decision says who made it, unless a mapping reads it."""
    if request.by is not None:
        return request.by
    if claims.action != "decide":
        return NOBODY
    given = body.get("by") if isinstance(body, Mapping) else None
    return NOBODY if given is None and not is_named else check_name(given)
