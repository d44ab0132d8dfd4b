"""Who waits in a group: the questions of those who keep a group's results alive."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import Json, UtcDateTime

from .database import Row, Statement, Transaction
from .noted import after, c, owed, p, params, undecided
from .place import Place
from .sql import has_bytes, is_among, now

#: Rows in one statement: they come with their bodies.
BATCH = 200
_open = sa.or_(undecided, owed)
# A member of a group, or a step of a chain that may be one: the last step's options say so. What
# is not JSON may spell it otherwise.
_in_group = sa.or_(
    c.group_id.is_not(None),
    has_bytes(c.body, p("marker", sa.LargeBinary())),
    sa.not_(c.envelope.contains("application/json")),
)


def _members(*, is_first: bool) -> Statement:
    place = sa.tuple_(c.created_at, c.id) > sa.tuple_(
        p("after_at", UtcDateTime()), p("after_id", sa.Text())
    )
    return Statement(
        lambda _: (
            sa.select(c.id, c.group_id, c.envelope, c.body, c.created_at)
            .where(
                c.namespace == p("namespace"),
                sa.or_(_open, c.completed_at >= after("since")),
                _in_group,
                *([] if is_first else [place]),
            )
            .order_by(c.created_at, c.id)
            .limit(p("limit", sa.Integer()))
        )
    )


_FIRST, _NEXT = _members(is_first=True), _members(is_first=False)


def find_members(database: Place, namespace: str, recent: float) -> Iterator[list[Row]]:
    """Jobs that may be in a group, open or completed so many seconds ago; batch after batch."""
    values: dict[str, Any] = {"namespace": namespace, "since": -recent, "marker": b'"group_id"'}
    statement = _FIRST
    while True:
        with database.alone() as tx:
            rows = tx.all(statement, **params(**values, limit=BATCH))
        if rows:
            yield rows
        if len(rows) < BATCH:
            return
        last = rows[-1]
        values |= {"after_at": last["created_at"], "after_id": last["id"]}
        statement = _NEXT


_YOUNGEST = Statement(
    lambda _: sa.select(
        sa.func.max(c.created_at, type_=UtcDateTime()).label("created_at"), now().label("now")
    ).where(
        c.namespace == p("namespace"),
        is_among(c.id, p("ids", Json())),
        # Replaced by other steps, it waits for the last of them.
        sa.or_(_open, c.kind == states.CONTINUED),
    )
)


def youngest_age(tx: Transaction, namespace: str, ids: Iterable[str]) -> timedelta | None:
    """For how long the youngest open job of these has been there; None: none is open."""
    row = tx.one(_YOUNGEST, **params(namespace=namespace, ids=sorted(ids)))
    if row is None or row["created_at"] is None:
        return None
    age: timedelta = row["now"] - row["created_at"]
    return age
