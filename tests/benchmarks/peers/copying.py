"""Many jobs that wait, as copies of rows that a peer itself has written."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import psycopg


def copy_row(
    connection: psycopg.Connection[Any],
    table: str,
    *,
    given: str,
    changes: Mapping[str, str],
    source: str,
    params: Mapping[str, Any],
) -> None:
    """Copy the row of ``table`` where ``given`` holds, once for each row of ``source``.

    Arguments:
        connection: To the peer's database.
        table: With its schema.
        given: A condition that picks one row.
        changes: The columns that differ in each copy, and how they are computed.
        source: What stands after FROM; the copies differ by it.
        params: The statement's.
    """
    schema, _, name = table.partition(".")
    columns = [
        column
        for (column,) in connection.execute(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = %s AND "
            "table_name = %s AND is_generated = 'NEVER' ORDER BY ordinal_position",
            (schema, name),
        )
    ]
    values = [changes.get(column, f'given."{column}"') for column in columns]
    quoted = ", ".join(f'"{column}"' for column in columns)
    statement = (
        f"INSERT INTO {table} ({quoted}) SELECT {', '.join(values)} "  # noqa: S608 - our own names
        f"FROM (SELECT * FROM {table} WHERE {given} LIMIT 1) AS given, {source}"
    )
    connection.execute(cast("Any", statement), params)
