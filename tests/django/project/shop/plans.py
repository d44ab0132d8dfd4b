"""Has PostgreSQL explain what the admin's lists ask of 100,000 jobs; a script's."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from tests.django.project.shop.tasks import ask
from tests.django.project.shop.tests_admin import LIST, fill

JOBS = 100_000
#: As many as a shop has after a while: most are over, some wait, few are late.
VALUES = {
    "id": "'job-' || n",
    "state": "CASE WHEN n %% 20 = 0 THEN 'PARKED' WHEN n %% 1000 = 1 THEN 'FAILURE' "
             "ELSE 'SUCCESS' END",
    "kind": "CASE WHEN n %% 20 = 0 THEN NULL WHEN n %% 1000 = 1 THEN 'failed' ELSE 'succeeded' END",
    "wake_at": "CASE WHEN n %% 10000 = 0 THEN now() - n * interval '1 second' "
               "WHEN n %% 20 = 0 OR n %% 10000 = 1 THEN now() + n * interval '1 minute' END",
    "task": "'shop.task-' || n %% 7",
    "created_at": "now() - n * interval '1 minute'",
    "parked_at": "CASE WHEN n %% 10 > 0 THEN now() - n * interval '1 minute' END",
    "completed_at": "CASE WHEN n %% 20 > 0 THEN now() - n * interval '1 minute' END",
    "root_id": "'root-' || n / 3",
    "reference": "'ref-' || n",
    "labels": "jsonb_build_array('every', 'label-' || n %% 1000)",
}  # fmt: skip


def explain_lists(*queries: str) -> dict[str, list[list[Any]]]:
    """Of each query of a URL, what each statement reads: its index (or none), and how many rows."""
    fill(ask.delay(), JOBS, **VALUES)
    with connection.cursor() as cursor:
        cursor.execute("VACUUM (ANALYZE) celery_external_job")
    client = Client()
    client.force_login(User.objects.create_superuser("root"))
    found = {}
    for query in queries:
        with CaptureQueriesContext(connection) as asked:
            assert client.get(LIST + query).status_code == 200, query
        ours = [one["sql"] for one in asked if 'FROM "celery_external_job"' in one["sql"]]
        found[query] = [read for sql in ours for read in _explain(sql)]
    return found


def _explain(sql: str) -> Iterator[list[Any]]:
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {sql}".replace("%", "%%"), [])
        (plan,) = cursor.fetchone()[0]
    for node in _nodes(plan["Plan"]):
        rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
        if "Index Name" in node or node["Node Type"] == "Seq Scan":
            yield [node.get("Index Name"), rows * node["Actual Loops"]]


def _nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from _nodes(inner)
