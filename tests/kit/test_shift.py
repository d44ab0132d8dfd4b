"""The store's side of the clock: every time of every table moves, and no other row's."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from celery_external import schema
from celery_external.schema import UtcDateTime
from celery_external.store import shift
from tests.rows import Rows

TABLES = (schema.job, schema.history, schema.kept_signal)
SECONDS = 86400.25


def times_of(table: sa.Table) -> list[str]:
    return [column.key for column in table.c if isinstance(column.type, UtcDateTime)]


def read_times(rows: Rows, table: sa.Table, job_id: str) -> list[datetime]:
    key = table.c.id if table is schema.job else table.c.job_id
    query = sa.select(*(table.c[name] for name in times_of(table))).where(key == job_id)
    with rows.database.engine.connect() as connection:
        (row,) = connection.execute(query)
    return list(row)


def fill(rows: Rows) -> str:
    """A job with something in every column that holds a time, in every table."""
    job_id = rows.parked()
    moment = datetime(2030, 1, 31, 23, 59, 59, 123000, tzinfo=UTC)
    rows.write(job_id, **dict.fromkeys(times_of(schema.job), moment))
    shared: dict[str, Any] = {"namespace": rows.namespace, "job_id": job_id, "attempt": 1}
    with rows.database.engine.connect() as connection:
        connection.execute(sa.insert(schema.history).values(**shared, event="seen", at=moment))
        connection.execute(
            sa.insert(schema.kept_signal).values(
                **shared, task="rows.ask", kind="failed", at=moment, wake_at=moment, sends=0
            )
        )
    return job_id


@pytest.mark.parametrize("is_alone", [True, False])
def test_every_time_moves(rows: Rows, *, is_alone: bool) -> None:
    one, other = fill(rows), fill(rows)
    before = [read_times(rows, table, one) for table in TABLES]
    with rows.database.transaction() as tx:
        shift.move_back(tx, rows.namespace, one if is_alone else None, SECONDS)
    moved = [[moment - timedelta(seconds=SECONDS) for moment in moments] for moments in before]
    assert [read_times(rows, table, one) for table in TABLES] == moved
    others = [read_times(rows, table, other) for table in TABLES]
    assert others == (before if is_alone else moved)
    with rows.database.transaction() as tx:
        shift.move_back(tx, "another", None, SECONDS)
    assert [read_times(rows, table, one) for table in TABLES] == moved


def test_what_is_not_there_stays_so(rows: Rows) -> None:
    job_id = rows.pending()
    with rows.database.transaction() as tx:
        shift.move_back(tx, rows.namespace, job_id, SECONDS)
    assert rows.get(job_id)["parked_at"] is None
