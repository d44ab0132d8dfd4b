"""The test kit in a Django project's own tests, on each database."""

from __future__ import annotations

from tests.django.runs import MEMORY, PROJECT, Project
from tests.django.test_suite import run
from tests.servers import Postgres

TESTS = f"{PROJECT}.shop.tests_kit"
#: Servers that are not there: the kit does without.
NOWHERE = {"BROKER_URL": "redis://127.0.0.1:1/0", "RESULT_URL": "redis://127.0.0.1:1/0"}


def test_on_postgresql(postgres: Postgres) -> None:
    run(Project({**NOWHERE, "DATABASE_URL": postgres.create_database()}), TESTS)


def test_on_sqlite(sqlite_url: str) -> None:
    # An app that is in memory anyway, and eager.
    run(Project({**MEMORY, "DATABASE_URL": sqlite_url}, {"CELERY_TASK_ALWAYS_EAGER": True}), TESTS)
