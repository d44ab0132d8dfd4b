"""Shells on the database of the test's rows."""

from __future__ import annotations

import pytest

from tests.cli.shell import Shell


@pytest.fixture
def shell(database_url: str) -> Shell:
    """A shell on the database of ``rows``: SQLite and PostgreSQL in turn."""
    return Shell(database_url)


@pytest.fixture
def on_sqlite(sqlite_url: str) -> Shell:
    """A shell on SQLite only, for what has nothing to do with the database."""
    return Shell(sqlite_url)
