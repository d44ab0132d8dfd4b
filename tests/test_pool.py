"""The pool of connections: one that is given up while a statement runs leaves nothing open."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import psycopg
import pytest
from sqlalchemy import event, make_url

from tests.rows import Rows
from tests.waiting import wait_for


@pytest.fixture
def rows(postgres_url: str) -> Iterator[Rows]:
    with closing(Rows(postgres_url)) as made:
        yield made


def test_it_is_given_up_while_a_statement_runs(rows: Rows, postgres_url: str) -> None:
    """As where another thread has found the database away."""
    job_id = rows.parked()

    with rows.database.alone():
        rows.database.engine.dispose()

    assert count_connections(postgres_url) == 0
    assert rows.get(job_id)["state"] == "PARKED"


def test_it_is_given_up_while_a_connection_is_taken_out(rows: Rows, postgres_url: str) -> None:
    engine, job_id = rows.database.engine, rows.parked()
    is_first = True

    def give_up(*_args: object) -> None:
        nonlocal is_first
        if is_first:
            is_first = False
            engine.dispose()

    event.listen(engine, "checkout", give_up)

    assert rows.get(job_id)["state"] == "PARKED"
    assert not is_first
    assert count_connections(postgres_url) == 0


def count_connections(url: str) -> int:
    """How many others are connected to the database, once those that end have ended."""
    plain = make_url(url).set(drivername="postgresql").render_as_string()
    query = (
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() "
        "AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
    )
    with psycopg.connect(plain, autocommit=True) as connection:

        def look() -> int:
            (found,) = connection.execute(query).fetchone() or (0,)
            return int(found)

        wait_for(lambda: not look(), timeout=5, what="connections to end")
        return look()
