"""A dashboard, and those who come to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest

from tests.dashboard.visitors import Visitors


@pytest.fixture
def make_visitors(sqlite_url: str) -> Iterator[Callable[..., Visitors]]:
    """Makes dashboards on SQLite, each on the same file."""
    with ExitStack() as made:

        def make(**options: Any) -> Visitors:
            visitors = Visitors(sqlite_url, **options)
            made.enter_context(closing(visitors.rows))
            return visitors

        yield make


@pytest.fixture
def visitors(make_visitors: Callable[..., Visitors]) -> Visitors:
    """A dashboard where it does not matter which database there is."""
    return make_visitors()


@pytest.fixture
def both(database_url: str) -> Iterator[Visitors]:
    """A dashboard on each database in turn."""
    made = Visitors(database_url)
    with closing(made.rows):
        yield made
