"""Redeeming a token: what it says is checked against here, now, and what is to be done."""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from typing import TYPE_CHECKING

from . import signals, tokens
from .errors import DatabaseUnavailableError, SchemaError, TokenRefusedError
from .logs import name_job
from .store import noted, read
from .tokens import Action, Claims
from .view import job_from

if TYPE_CHECKING:
    from .installation import Installation

logger = logging.getLogger("celery_external")


def claims_of(installation: Installation, token: str) -> Claims:
    """What a token says, if it was signed with one of our keys.

    Raises:
        TokenRefusedError: It was not. That is logged, and all that is known of it.
    """
    try:
        return tokens.verify(installation.settings.secret_keys, token)
    except TokenRefusedError:
        logger.warning("Refused: a token that none of external_secret_keys has signed")
        raise


def check_claims(
    installation: Installation,
    claims: Claims,
    actions: Collection[Action],
    *,
    by: str | None = None,
    is_noted: bool = True,
) -> None:
    """Whether what a token says allows one of the actions, here and now.

    Whether its attempt still is the job's is for the signal to find out, in its transaction.

    Arguments:
        installation: Where it is redeemed.
        claims: What the token says.
        actions: The actions of which any will do.
        by: Who redeems it, for the history.
        is_noted: A refusal leaves a line in the job's history. False: only in the log.

    Raises:
        TokenRefusedError: It does not.
    """
    problem = _problem(installation, claims, actions)
    if problem is None:
        return
    logger.warning(
        "Refused: a token for job %s, attempt %s: %s",
        claims.job_id,
        claims.attempt,
        problem,
        extra=name_job(claims.job_id),
    )
    # Jobs of another namespace are another app's.
    if is_noted and claims.namespace == installation.namespace:
        _note(installation, claims, problem, by)
    raise TokenRefusedError


def _problem(installation: Installation, claims: Claims, actions: Collection[Action]) -> str | None:
    if claims.namespace != installation.namespace:
        return f"it is for namespace {claims.namespace!r}"
    if claims.expires_at <= time.time():
        return "it has expired"
    if claims.action not in actions:
        return f"it is to {claims.action}, not to {' or '.join(actions)}"
    return None


def _note(installation: Installation, claims: Claims, problem: str, by: str | None) -> None:
    """Write it into the history; without a database the answer is the same."""
    said = {"kind": "token", "action": claims.action, "error": f"Token: {problem}"}
    try:
        with installation.database.transaction() as tx:
            row = read.get(tx, installation.namespace, claims.job_id)
            if row is not None:
                shown = {**row, "attempt": claims.attempt}
                noted.note(tx, shown, "refused", by=by, details=said)
    except (DatabaseUnavailableError, SchemaError) as exc:
        logger.warning(
            "Job %s: the refusal is not in its history: %s",
            claims.job_id,
            exc,
            extra=name_job(claims.job_id),
        )
        return
    if row is not None:
        job = job_from(installation.app, row)
        signals.signal_refused.send(installation.app, job=job, error=TokenRefusedError())
