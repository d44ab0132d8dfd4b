"""Hot statements and views keep their indexes on PostgreSQL, with 100,000 jobs and statistics.

The store's own functions run on a cursor that explains their statements in place of running them,
as they are planned for the values at hand and as they are planned once for all values.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import psycopg
import pytest

from celery_external.glance import MAX_LINES
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
from tests.plans import LONG_LIVED, MODES, Explainer, indexes, nodes, seq_scans
from tests.rows import Rows


@pytest.fixture(scope="module")
def rows(many_jobs_url: str) -> Iterator[Rows]:
    """Many jobs, in a database that these tests do not change."""
    with closing(Rows(many_jobs_url)) as made:
        yield made


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


Run = Callable[..., object]


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
    **{
        f"the end of a history{of}": (
            lambda rows, tx, job_id=job_id: read.get_newest_history(
                tx, rows.namespace, job_id, MAX_LINES
            ),
            "celery_external_history_job",
        )
        for of, job_id in (("", "job-4"), (" without an end", LONG_LIVED))
    },
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


@pytest.mark.parametrize("what", HOT)
def test_it_is_read_by_its_index(seen: Rows, what: str) -> None:
    run, index = HOT[what]
    for mode in MODES:
        (plan,) = explained(seen, run, mode)
        assert seq_scans(plan) == [], mode
        assert indexes(plan) == {index}, mode


NEVER_ANALYZED = """
DELETE FROM pg_statistic WHERE starelid = 'celery_external_job'::regclass;
UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relname = 'celery_external_job'
"""


def test_many_signals_are_looked_up_also_without_statistics(rows: Rows) -> None:
    for mode in MODES:
        (plan,) = explained(rows, decide_many, mode, NEVER_ANALYZED)
        assert seq_scans(plan) == [], mode
        assert indexes(plan) == {PKEY}, mode


def explained(rows: Rows, run: Run, mode: str, before: str = "") -> list[dict[str, Any]]:
    """The plans of what the store's function runs; what is done ``before`` is undone."""
    url = rows.database.url.set(drivername="postgresql").render_as_string()
    with (
        psycopg.connect(url, autocommit=True) as connection,
        connection.transaction(force_rollback=True),
    ):
        connection.execute(cast("Any", f"SET plan_cache_mode = {mode}; {before}"))
        explainer = Explainer(connection)
        run(rows, Transaction(rows.database.engine.dialect, explainer))
    return explainer.plans


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
    **{
        f"how many lines a history has, of {job_id}": (
            lambda rows, tx, job_id=job_id: counts.count_lines(tx, rows.namespace, job_id),
            {"celery_external_history_job"},
        )
        for job_id in ("job-4", LONG_LIVED)
    },
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
