"""Keeps what Celery remembers of a group alive while one of its members waits outside.

Celery forgets a chord's counters, a saved group and the members' results after ``result_expires``,
a day by default; a person may take longer.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from . import message
from .canvas import Ids, groups_of
from .errors import ExternalError
from .installation import Pace
from .keepers import Keeper, keeper_of
from .logs import name_job
from .store import waiting

if TYPE_CHECKING:
    from celery import Celery

    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

_pace = Pace()


def keep_alive(installation: Installation) -> None:
    """Renew what belongs to groups with an open job; once in a quarter of the expiry is enough.

    Never raises: a result backend that is away must not keep the sweep from its work.
    """
    try:
        keeper = keeper_of(installation.app.backend)
        if keeper is not None and _pace.is_time(installation, keeper.interval):
            _renew(installation, keeper)
    except Exception as exc:
        _pace.forget(installation)
        logger.warning(
            "Groups are not kept alive now: %r", exc, exc_info=not isinstance(exc, ExternalError)
        )


def _renew(installation: Installation, keeper: Keeper) -> None:
    # Who completed since the last time is included: the others' results are to be there for the
    # whole lifetime after it.
    recent = 2 * keeper.interval + installation.settings.sweep_interval
    seen: set[str] = set()
    for rows in waiting.find_members(installation.database, installation.namespace, recent):
        groups = {group_id for row in rows for group_id in _groups_of(installation.app, row)} - seen
        seen |= groups
        ids = Ids(groups, {row["id"] for row in rows})
        ids.add(keeper.find_members(groups))
        keeper.renew(ids)


def _groups_of(app: Celery, row: Row) -> set[str]:
    own = {row["group_id"]} - {None}
    try:
        embed: Any = message.load_body(app, row)[2]
        return own | groups_of(embed)
    except Exception:
        logger.debug(
            "The message of job %s cannot be read here",
            row["id"],
            exc_info=True,
            extra=name_job(row),
        )
        return own
