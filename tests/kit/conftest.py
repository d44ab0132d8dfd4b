"""A user's app, and the kit on it."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from celery_external import (
    testing,
)
from celery_external.testing import Kit
from tests.rows import NO_BROKER
from tests.systems import System

DAY = 86400
TWO_DAYS = timedelta(days=2)


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[System]:
    """A user's app as it is in production: with servers that are not there."""
    made = System(
        broker_url=NO_BROKER,
        result_url=NO_BROKER,
        database_url="postgresql+psycopg://127.0.0.1:1/nowhere",
        scratch=tmp_path,
    )
    yield made
    made.app.close()


@pytest.fixture
def kit(shop: System, database_url: str) -> Iterator[Kit]:
    """The kit, with jobs in each kind of database in turn."""
    with testing.in_memory(shop.app, external_database_url=database_url) as made:
        yield made


@pytest.fixture
def memory(shop: System) -> Iterator[Kit]:
    """The kit with all that it chooses itself."""
    with testing.in_memory(shop.app) as made:
        yield made


def start(kit: Kit, sig: Any, **options: Any) -> Any:
    """Start a task or a canvas, and have its triggers run."""
    result = sig.apply_async(**options)
    kit.drain()
    return result


def close_results(backend: Any) -> None:
    """Let go of the file of a result backend in SQL."""
    backend.ResultSession().get_bind().dispose()
