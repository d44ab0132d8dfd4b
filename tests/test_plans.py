"""Hot statements and views keep their indexes on PostgreSQL, with 100,000 jobs and statistics.

The store's own functions run on a cursor that explains their statements in place of running them,
as they are planned for the values at hand and as they are planned once for all values.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest
from psycopg import sql

from celery_external.store import (
    ailing,
    counts,
    decisions,
    deliveries,
    polls,
    purging,
    read,
    stats,
    times,
)
from celery_external.store.database import Row, Transaction
from tests.rows import Rows
from tests.servers import Postgres

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


@pytest.fixture(scope="module", params=["vacuumed", "never vacuumed"])
def seen(request: pytest.FixtureRequest, rows: Rows) -> Iterator[Rows]:
    """The jobs, whose pages the index need not, or need, look at."""
    url = rows.database.url.set(drivername="postgresql").render_as_string()
    number = "relallvisible" if request.param == "vacuumed" else "0"
    with psycopg.connect(url, autocommit=True) as connection:
        (known,) = connection.execute(RELALLVISIBLE).fetchone() or (0,)
        connection.execute(cast("Any", FORGET.format(number=number)))
        yield rows
        connection.execute(cast("Any", FORGET.format(number=known)))


RELALLVISIBLE = "SELECT relallvisible FROM pg_class WHERE relname = 'celery_external_job'"
FORGET = "UPDATE pg_class SET relallvisible = {number} WHERE relname = 'celery_external_job'"


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
    "a list by root": (found(root_id="root-7"), "celery_external_job_root_id"),
    "a list by reference": (
        found(task="rows.ask", reference="ref-7"),
        "celery_external_job_reference",
    ),
}


MODES = ("force_custom_plan", "force_generic_plan")


@pytest.mark.parametrize("what", HOT)
def test_it_is_read_by_its_index(seen: Rows, what: str) -> None:
    run, index = HOT[what]
    for mode in MODES:
        (plan,) = explained(seen, run, mode)
        assert seq_scans(plan) == [], mode
        assert indexes(plan) == {index}, mode


def explained(rows: Rows, run: Run, mode: str) -> list[dict[str, Any]]:
    """The plans of what the store's function runs."""
    url = rows.database.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(cast("Any", f"SET plan_cache_mode = {mode}"))
        explainer = Explainer(connection)
        run(rows, Transaction(rows.database.engine.dialect, explainer))
    return explainer.plans


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


# --- Views of all jobs ----------------------------------------------------------------------------


def counted(**filters: Any) -> Run:
    return lambda rows, tx: counts.count(tx, rows.namespace, filters)


def count_outcomes(rows: Rows, tx: Transaction) -> object:
    now = datetime.now(UTC)
    return stats.count_outcomes(tx, rows.namespace, now - timedelta(hours=1), now, 2000)


UNSETTLED = "celery_external_job_unsettled"
COMPLETED = "celery_external_job_completed_at"
LABELS = "celery_external_job_labels"

#: The same for what people and metrics look at, and what retention deletes. Before a list it is
#: asked whether what fits is few.
VIEWS: dict[str, tuple[Run, set[str]]] = {
    **{f"how many are {s}": (counted(state=s), {UNSETTLED}) for s in ("PENDING", "PARKED")},
    "how many of a task are parked": (counted(state="PARKED", task="rows.ask"), {UNSETTLED}),
    "how many are owed": (counted(owed=3), {UNSETTLED}),
    "how many are stuck": (counted(stuck=3), {UNSETTLED}),
    "how many are overdue": (counted(overdue=3), {WAKE_AT}),
    "how many have a label": (counted(labels=["label-7"]), {LABELS}),
    "the parked tasks": (lambda rows, tx: stats.find_parked_tasks(tx, rows.namespace), {UNSETTLED}),
    "the labels of a task": (
        lambda rows, tx: stats.count_labels(tx, rows.namespace, "rows.ask", 1000),
        {UNSETTLED},
    ),
    "outcomes of an hour": (count_outcomes, {COMPLETED}),
    "what nobody sweeps": (
        lambda rows, tx: ailing.find_unswept(tx, rows.namespace, 60, 1000),
        {WAKE_AT},
    ),
    "what is owed for long": (
        lambda rows, tx: ailing.find_owed(tx, rows.namespace, 60, 1000),
        {UNSETTLED, PKEY},
    ),
    "what is stuck": (
        lambda rows, tx: ailing.find_stuck(tx, rows.namespace, 1000),
        {UNSETTLED, PKEY},
    ),
    "what no worker takes": (
        lambda rows, tx: ailing.find_untaken(tx, rows.namespace, 3600, 1000),
        {UNSETTLED, PKEY},
    ),
    "a list by label": (found(labels=["label-7"]), {LABELS, PKEY}),
    "a list of what is owed": (found(owed=3), {UNSETTLED, PKEY}),
    "a list of what is stuck": (found(stuck=3), {UNSETTLED, PKEY}),
    "a list of what is overdue": (found(overdue=3), {WAKE_AT}),
    "a list of what is pending": (found(state="PENDING", order="created"), {UNSETTLED, PKEY}),
    "what may be purged": (
        lambda rows, tx: purging.lock_old(tx, rows.namespace, 86400, {}, 500),
        {COMPLETED, "celery_external_job_root_id"},
    ),
    "a purge": (
        lambda rows, tx: purging.delete(
            tx, rows.namespace, [f"job-{n}" for n in range(1, 500)], keep_history=False
        ),
        {PKEY, "celery_external_job_root_id", "celery_external_history_job"},
    ),
}


@pytest.mark.parametrize("what", VIEWS)
def test_a_view_reads_no_table_from_end_to_end(seen: Rows, what: str) -> None:
    run, wanted = VIEWS[what]
    for mode in MODES:
        plans = explained(seen, run, mode)
        assert [seq_scans(plan) for plan in plans] == [[]] * len(plans), mode
        assert {name for plan in plans for name in indexes(plan)} == wanted, mode


# --- A sweep where nothing is due -----------------------------------------------------------------

FINGERPRINT = """
SELECT md5(string_agg(concat_ws(' ', id, ctid, xmin, xmax), ',' ORDER BY id))
FROM celery_external_job
"""


def test_an_idle_sweep_reads_nothing_and_locks_nothing(seen: Rows) -> None:
    url = seen.database.url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(url, autocommit=True) as connection:
        before = connection.execute(FINGERPRINT).fetchone()
        assert seen.external.sweep() == 0
        assert connection.execute(FINGERPRINT).fetchone() == before

        explainer = Explainer(connection, options=", ANALYZE, BUFFERS")
        tx = Transaction(seen.database.engine.dialect, explainer)
        read.lock_due(tx, seen.namespace, 500)
        read.is_overdue(tx, seen.namespace, 60)
        purging.is_due(tx, seen.namespace, 30 * 86400)

    for plan, index in zip(explainer.plans, (WAKE_AT, WAKE_AT, COMPLETED), strict=True):
        scans = [node for node in nodes(plan) if node.get("Index Name") == index]
        assert [node["Actual Rows"] for node in scans] == [0]
        assert [node.get("Rows Removed by Filter", 0) for node in scans] == [0]
        assert plan["Shared Hit Blocks"] + plan["Shared Read Blocks"] < 10
