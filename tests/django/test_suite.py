"""The project's own tests by Django's test runner, on each database and kind of connection."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.django.runs import MEMORY, PROJECT, Project
from tests.servers import Postgres

TESTS = f"{PROJECT}.shop.tests"
ON_A_SERVER = f"{PROJECT}.shop.tests_postgresql"
KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "persistent": {
        "DATABASE": {
            "CONN_MAX_AGE": None,
            "CONN_HEALTH_CHECKS": True,
            "TIME_ZONE": "America/New_York",
            "OPTIONS": {"server_side_binding": True, "prepare_threshold": 0},
        }
    },
    "pooled": {"DATABASE": {"OPTIONS": {"pool": {"min_size": 1, "max_size": 2}}}},
    "naive": {"USE_TZ": False, "TIME_ZONE": "Europe/Berlin"},
}


def run(project: Project, *labels: str) -> None:
    said = project.manage("test", "--noinput", *labels)
    assert re.search(r"^OK$", said, re.MULTILINE), said


@pytest.mark.parametrize("kind", KINDS)
def test_on_postgresql(postgres: Postgres, kind: str) -> None:
    url = postgres.create_database()
    run(Project({**MEMORY, "DATABASE_URL": url}, KINDS[kind]), TESTS, ON_A_SERVER)


@pytest.mark.parametrize("kind", ["plain", "naive"])
def test_on_sqlite(sqlite_url: str, kind: str) -> None:
    run(Project({**MEMORY, "DATABASE_URL": sqlite_url}, KINDS[kind]), TESTS)
