"""Tells which of the library's statements a piece of SQL is, as the database shows it."""

from __future__ import annotations

import re
from functools import cache

import sqlalchemy as sa

from celery_external.store import deliveries

#: As the production engines are made: a statement is compiled once for all that use it.
_DIALECTS = {
    "sqlite": sa.create_engine("sqlite://", paramstyle="named").dialect,
    "postgresql": sa.create_engine("postgresql+psycopg://").dialect,
}
_PARAMETERS = {"sqlite": r"(?<!:):\w+", "postgresql": r"%\(\w+\)s"}
#: PostgreSQL shows only the first kilobyte.
_SHOWN = 500
TAKE, PARK, SETTLE = "take", "park", "settle"


@cache
def _pattern(name: str, dialect: str) -> re.Pattern[str]:
    statement = getattr(deliveries, f"_{name.upper()}")
    text = statement.prepared(_DIALECTS[dialect]).text[:_SHOWN]
    # The end of the text may be half a parameter.
    whole = re.split(_PARAMETERS[dialect], text)[:-1]
    return re.compile(".*?".join(map(re.escape, whole)), re.DOTALL)


def name_of(sql: str, dialect: str) -> str | None:
    """The statement's name: TAKE, PARK or SETTLE; None for any other."""
    names = [name for name in (TAKE, PARK, SETTLE) if _pattern(name, dialect).match(sql)]
    return names[0] if names else None
