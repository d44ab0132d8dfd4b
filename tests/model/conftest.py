"""A world on each database."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing

import pytest
import sqlalchemy as sa

from tests.model.world import World
from tests.servers import Valkey

#: The database's clock, as our statements ask for it, goes ahead of the server's.
OUR_CLOCK = """
CREATE SCHEMA clock;
CREATE TABLE clock.ahead AS SELECT interval '0' AS by;
CREATE FUNCTION clock.clock_timestamp() RETURNS timestamptz LANGUAGE sql VOLATILE
    AS 'SELECT pg_catalog.clock_timestamp() + by FROM clock.ahead'
"""


@pytest.fixture
def clocked_postgres_url(postgres_url: str) -> str:
    """A database whose clock a test can set."""
    engine = sa.create_engine(postgres_url)
    with engine.begin() as connection:
        connection.exec_driver_sql(OUR_CLOCK)
    engine.dispose()
    return f"{postgres_url}?options=-csearch_path%3Dclock,pg_catalog,public"


@pytest.fixture(params=["sqlite", "postgresql"])
def world(request: pytest.FixtureRequest, valkey: Valkey) -> Iterator[World]:
    name = {"sqlite": "sqlite_url", "postgresql": "clocked_postgres_url"}[request.param]
    with closing(World(request.getfixturevalue(name), valkey.fresh_database())) as made:
        yield made
