"""Retention: settled jobs are purged when they are old enough, in batches."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import TYPE_CHECKING

from . import states
from .checks import MAX_SECONDS, as_seconds, check_text
from .errors import OptionError
from .store import purging

if TYPE_CHECKING:
    from .installation import Installation

logger = logging.getLogger("celery_external")

#: Jobs in one transaction: few enough that nobody waits long for the locks.
BATCH = 500
#: Jobs that one sweep purges: a backlog must not keep it from what is due.
SWEEP_LIMIT = 20_000


def purge_old(installation: Installation, limit: int = SWEEP_LIMIT) -> None:
    """The sweep's part: what ``external_retention`` says, and of a backlog so many."""
    settings = installation.settings
    seconds = settings.retention
    if seconds is None:
        return
    with installation.database.alone() as tx:
        is_due = purging.is_due(tx, installation.namespace, seconds)
    if is_due:
        keep_history = not settings.purge_history
        _purge(installation, seconds, {}, keep_history=keep_history, limit=limit)


def purge(
    installation: Installation,
    *,
    older_than: timedelta | float | None = None,
    state: str | None = None,
    task: str | None = None,
    keep_history: bool | None = None,
    limit: int | None = None,
) -> int:
    """Purge now; see ``External.purge``."""
    seconds = _check_age(installation, older_than)
    filters = {}
    if state is not None:
        if state not in states.TERMINAL_STATES:
            known = ", ".join(sorted(states.TERMINAL_STATES))
            raise OptionError("state", f"must be one of {known}, not {state!r}")
        filters["state"] = state
    if task is not None:
        filters["task"] = check_text("task", task)
    if keep_history is None:
        keep_history = not installation.settings.purge_history
    if not isinstance(keep_history, bool):
        raise OptionError("keep_history", f"must be True or False, not {keep_history!r}")
    if limit is not None and (not isinstance(limit, int) or isinstance(limit, bool) or limit < 1):
        raise OptionError("limit", f"must be a number from 1, not {limit!r}")
    return _purge(installation, seconds, filters, keep_history=keep_history, limit=limit)


def _check_age(installation: Installation, older_than: timedelta | float | None) -> float:
    if older_than is None:
        if installation.settings.retention is None:
            raise OptionError("older_than", "is needed: external_retention is None")
        return installation.settings.retention
    seconds = as_seconds(older_than)
    if seconds is None or not 0 <= seconds <= MAX_SECONDS:
        raise OptionError(
            "older_than", f"must be a number of seconds, 0 or more, not {older_than!r}"
        )
    return seconds


def _purge(
    installation: Installation,
    seconds: float,
    filters: dict[str, str],
    *,
    keep_history: bool,
    limit: int | None,
) -> int:
    """In short transactions, so that nobody waits; returns how many jobs went."""
    database, namespace = installation.database, installation.namespace
    total = 0
    while True:
        size = BATCH if limit is None else min(BATCH, limit - total)
        if not size:
            break
        with database.transaction() as tx:
            ids = purging.lock_old(tx, namespace, seconds, filters, size)
            if ids:
                total += purging.delete(tx, namespace, ids, keep_history=keep_history)
        if len(ids) < size:
            break
    if total:
        logger.info("%d settled jobs are purged, older than %.0f s", total, seconds)
    return total
