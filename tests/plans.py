"""100,000 jobs on PostgreSQL, and by which indexes statements are read there."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import Any, cast

import psycopg
from psycopg import sql

from tests.rows import Rows

JOBS = 100_000
#: As many jobs as a shop has after a while: most are over, some wait, few are due.
FILL = """
INSERT INTO celery_external_job ({columns})
SELECT {values} FROM celery_external_job, generate_series(1, {jobs}) AS n
"""
VALUES = {
    "id": "'job-' || n",
    "task": "CASE WHEN n % 3 = 0 THEN 'rows.render' ELSE 'rows.ask' END",
    "state": "CASE WHEN n % 2000 = 8 THEN 'PENDING' WHEN n % 4 = 0 THEN 'PARKED' "
    "WHEN n % 1000 = 1 THEN 'FAILURE' ELSE 'SUCCESS' END",
    "kind": "CASE WHEN n % 4 = 0 THEN NULL WHEN n % 1000 = 1 THEN 'failed' ELSE 'succeeded' END",
    "sends": "CASE WHEN n % 4000 = 8 THEN 4 ELSE 0 END",
    "wake_at": "CASE WHEN n % 4 = 0 OR n % 1000 = 1 "
    "THEN now() + interval '1 hour' + n * interval '20 seconds' END",
    "created_at": "now() - n * interval '20 seconds'",
    "parked_at": "CASE WHEN n % 10 > 0 THEN now() - n * interval '20 seconds' END",
    "completed_at": "CASE WHEN n % 4 > 0 THEN now() - n * interval '20 seconds' END",
    "root_id": "'root-' || n / 3",
    "reference": "'ref-' || n",
    "labels": "jsonb_build_array('every', 'label-' || n % 1000)",
}
HISTORY = """
INSERT INTO celery_external_history (namespace, job_id, attempt, event, at)
SELECT namespace, id, 1, 'succeeded', now() FROM celery_external_job
"""
#: One of them has had a long life.
LONG_LIVED = "job-12"
LONG_HISTORY = """
INSERT INTO celery_external_history (namespace, job_id, attempt, event, at)
SELECT namespace, id, 1, 'refused', now() FROM celery_external_job, generate_series(2, 20000)
WHERE id = 'job-12'
"""


def fill(url: str) -> None:
    """Have the jobs in a migrated database, with statistics of them."""
    with closing(Rows(url)) as made:
        row = made.get(made.pending())
    columns, values = ", ".join(row), ", ".join(VALUES.get(name, name) for name in row)
    with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
        for statement in (
            FILL.format(columns=columns, values=values, jobs=JOBS),
            HISTORY,
            LONG_HISTORY,
            "VACUUM (ANALYZE)",
        ):
            connection.execute(cast("Any", statement))


class Explainer:
    """A cursor that keeps the plan of each statement and returns no rows."""

    def __init__(self, connection: psycopg.Connection[Any], options: str = "") -> None:
        self._connection = connection
        self._options = options
        self.plans: list[dict[str, Any]] = []

    def execute(self, text: str, params: Mapping[str, Any]) -> None:
        """Explain a statement of the store."""
        names: list[str] = []

        def number(found: re.Match[str]) -> str:
            if found[1] not in names:
                names.append(found[1])
            return f"${names.index(found[1]) + 1}"

        numbered = re.sub(r"%\((\w+)\)[sb]", number, text).replace("%%", "%")
        values = sql.SQL(", ").join(sql.Literal(params[name]) for name in names)
        run = self._connection.execute
        run(sql.SQL("PREPARE explained AS {}").format(sql.SQL(cast("Any", numbered))))
        explain = sql.SQL("EXPLAIN (FORMAT JSON {}) EXECUTE explained ({})")
        plan = run(explain.format(sql.SQL(cast("Any", self._options)), values)).fetchone()
        run("DEALLOCATE explained")
        assert plan is not None
        self.plans.append(plan[0][0]["Plan"])

    def fetchall(self) -> list[Any]:
        """Nothing was run."""
        return []


def nodes(plan: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    """The plan and all that is in it."""
    yield plan
    for inner in plan.get("Plans", []):
        yield from nodes(inner)


def seq_scans(plan: Mapping[str, Any]) -> list[str]:
    """The tables that are read from end to end; of kept signals there are none."""
    return [
        node["Relation Name"]
        for node in nodes(plan)
        if node["Node Type"] == "Seq Scan"
        and node["Relation Name"] in {"celery_external_job", "celery_external_history"}
    ]


def indexes(plan: Mapping[str, Any]) -> set[str]:
    """The indexes that are used."""
    return {node["Index Name"] for node in nodes(plan) if "Index Name" in node}


#: How a statement is planned: for the values at hand, or once for all values.
MODES = ("force_custom_plan", "force_generic_plan")
