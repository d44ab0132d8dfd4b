"""Hot statements keep their indexes on PostgreSQL, with 20,000 jobs and statistics of them.

The store's own functions run on a cursor that explains their statements in place of running them,
as they are planned for the values at hand and as they are planned once for all values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql

from celery_external.store import decisions, deliveries, polls, read, times
from celery_external.store.database import Row, Transaction
from tests.rows import Rows
from tests.servers import Postgres

JOBS = 20_000
#: As many jobs as a shop has after a while: most are over, some wait, few are due.
FILL = """
INSERT INTO celery_external_job ({columns})
SELECT {values} FROM celery_external_job, generate_series(1, {jobs}) AS n
"""
VALUES = {
    "id": "'job-' || n",
    "state": "CASE WHEN n % 4 = 0 THEN 'PARKED' ELSE 'SUCCESS' END",
    "kind": "CASE WHEN n % 4 = 0 THEN NULL ELSE 'succeeded' END",
    "wake_at": "CASE WHEN n % 4 = 0 THEN now() + n * interval '1 minute' END",
    "created_at": "now() - n * interval '1 minute'",
    "parked_at": "CASE WHEN n % 10 > 0 THEN now() - n * interval '1 minute' END",
    "completed_at": "CASE WHEN n % 4 > 0 THEN now() - n * interval '1 minute' END",
    "root_id": "'root-' || n / 3",
    "reference": "'ref-' || n",
    "labels": "jsonb_build_array('every', 'label-' || n % 1000)",
}
HISTORY = """
INSERT INTO celery_external_history (namespace, job_id, attempt, event, at)
SELECT namespace, id, 1, 'succeeded', now() FROM celery_external_job
"""


@pytest.fixture(scope="module")
def rows(postgres: Postgres, postgres_template: str) -> Iterator[Rows]:
    """Many jobs, in a database that these tests share and do not change."""
    url = postgres.create_database(postgres_template)
    with closing(Rows(url)) as made:
        row = made.get(made.pending())
        columns, values = ", ".join(row), ", ".join(VALUES.get(name, name) for name in row)
        with psycopg.connect(url.replace("+psycopg", ""), autocommit=True) as connection:
            for statement in (
                FILL.format(columns=columns, values=values, jobs=JOBS),
                HISTORY,
                "VACUUM (ANALYZE)",
            ):
                connection.execute(cast("Any", statement))
        yield made
    postgres.drop_database(url)


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

        numbered = re.sub(r"%\((\w+)\)s", number, text).replace("%%", "%")
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


Run = Callable[[Rows, Transaction], object]


def found(**filters: Any) -> Run:
    order = filters.pop("order", "-parked")
    after = filters.pop("after", None)
    return lambda rows, tx: read.find(tx, rows.namespace, filters, order, 50, after)


def a_row(rows: Rows) -> Row:
    return rows.get("job-4")


def decide(rows: Rows, tx: Transaction) -> object:
    return decisions.decide(
        tx,
        namespace=rows.namespace,
        job_id="job-4",
        attempt=None,
        outcome=rows.outcome(),
        by="me",
        wake_in=60,
    )


def decide_many(rows: Rows, tx: Transaction) -> object:
    outcomes = [(f"job-{n}", None, rows.outcome()) for n in range(200)]
    return decisions.decide_many(
        tx, namespace=rows.namespace, outcomes=outcomes, by="me", wake_in=60
    )


def take(rows: Rows, tx: Transaction) -> object:
    return deliveries.take(
        tx,
        namespace=rows.namespace,
        job_id="job-4",
        attempt=1,
        claim="me",
        trigger_timeout=60,
        lease=60,
    )


def park(rows: Rows, tx: Transaction) -> object:
    return deliveries.park(
        tx,
        a_row(rows),
        "me",
        call_deadline=None,
        timeout=60,
        heartbeat_timeout=None,
        poll_interval=None,
        body=None,
        trigger_result=None,
        trigger_result_type=None,
    )


def progress(rows: Rows, tx: Transaction) -> object:
    return times.record_progress(
        tx, namespace=rows.namespace, job_id="job-4", attempt=None, progress={"current": 1}
    )


def expire(rows: Rows, tx: Transaction) -> object:
    ids = [f"job-{n}" for n in range(200)]
    return times.expire(tx, rows.namespace, ids, rows.outcome(), 60)


def repeat(rows: Rows, tx: Transaction) -> object:
    return times.repeat(tx, rows.namespace, [f"job-{n}" for n in range(200)], 60)


def poll_keys() -> list[Row]:
    moment = datetime(2024, 1, 1, tzinfo=UTC)
    return [{"id": f"job-{n}", "attempt": 1, "poll_at": moment} for n in range(100)]


def begin_polls(rows: Rows, tx: Transaction) -> object:
    return polls.begin(tx, rows.namespace, [f"job-{n}" for n in range(200)], 300)


def take_polls(rows: Rows, tx: Transaction) -> object:
    return polls.take(tx, rows.namespace, poll_keys(), backoff=2, longest=3600, lease=300)


def note_failed_polls(rows: Rows, tx: Transaction) -> None:
    attempts = [(f"job-{n}", 1) for n in range(100)]
    polls.note_failed(tx, rows.namespace, attempts, by="poller", reason="away")


PKEY = "celery_external_job_pkey"
WAKE_AT = "celery_external_job_wake_at"
A_TIME = ("2024-01-01 00:00:00+00", "job-4")

#: The statements, by what they are for; the index that each must be read by.
HOT: dict[str, tuple[Run, str]] = {
    "a delivery": (take, PKEY),
    "a park": (park, PKEY),
    "a signal": (decide, PKEY),
    "many signals": (decide_many, PKEY),
    "progress": (progress, PKEY),
    "a settlement": (lambda rows, tx: deliveries.settle(tx, a_row(rows), "me"), PKEY),
    "a job": (lambda rows, tx: read.get(tx, rows.namespace, "job-4"), PKEY),
    "a history": (
        lambda rows, tx: read.get_history(tx, rows.namespace, "job-4"),
        "celery_external_history_job",
    ),
    "what is due": (lambda rows, tx: read.lock_due(tx, rows.namespace, 500), WAKE_AT),
    "whether anything is overdue": (
        lambda rows, tx: read.is_overdue(tx, rows.namespace, 60),
        WAKE_AT,
    ),
    "an expiry": (expire, PKEY),
    "a repeat": (repeat, PKEY),
    "polls that begin": (begin_polls, PKEY),
    "polls that a worker takes": (take_polls, PKEY),
    "polls that are done": (lambda rows, tx: polls.end(tx, rows.namespace, poll_keys()), PKEY),
    "polls that failed": (note_failed_polls, PKEY),
    **{
        f"a list by {sign}{name}{' behind a place' if after else ''}": (
            found(order=sign + name, after=after),
            f"celery_external_job_{name}_at",
        )
        for name in ("created", "parked", "completed")
        for sign in ("", "-")
        for after in (None, A_TIME)
    },
    "a list by label": (found(labels=["label-7"]), "celery_external_job_labels"),
    "a list by root": (found(root_id="root-7"), "celery_external_job_root_id"),
    "a list by reference": (
        found(task="rows.ask", reference="ref-7"),
        "celery_external_job_reference",
    ),
}


@pytest.mark.parametrize("mode", ["force_custom_plan", "force_generic_plan"])
@pytest.mark.parametrize("what", HOT)
def test_it_is_read_by_its_index(rows: Rows, what: str, mode: str) -> None:
    run, index = HOT[what]
    url = rows.database.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(cast("Any", f"SET plan_cache_mode = {mode}"))
        explainer = Explainer(connection)
        run(rows, Transaction(rows.database.engine.dialect, explainer))

    (plan,) = explainer.plans
    scans = [node for node in nodes(plan) if str(node.get("Relation Name")).startswith("celery_")]
    assert [node["Node Type"] for node in scans if node["Node Type"] == "Seq Scan"] == []
    used = {node["Index Name"] for node in nodes(plan) if "Index Name" in node}
    assert used == {index}


# --- A sweep where nothing is due -----------------------------------------------------------------

FINGERPRINT = """
SELECT md5(string_agg(concat_ws(' ', id, ctid, xmin, xmax), ',' ORDER BY id))
FROM celery_external_job
"""


def test_an_idle_sweep_reads_nothing_and_locks_nothing(rows: Rows) -> None:
    url = rows.database.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as connection:
        before = connection.execute(FINGERPRINT).fetchone()
        assert rows.external.sweep() == 0
        assert connection.execute(FINGERPRINT).fetchone() == before

        explainer = Explainer(connection, options=", ANALYZE, BUFFERS")
        tx = Transaction(rows.database.engine.dialect, explainer)
        read.lock_due(tx, rows.namespace, 500)
        read.is_overdue(tx, rows.namespace, 60)

    for plan in explainer.plans:
        scans = [node for node in nodes(plan) if node.get("Index Name") == WAKE_AT]
        assert [node["Actual Rows"] for node in scans] == [0]
        assert [node.get("Rows Removed by Filter", 0) for node in scans] == [0]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 10
