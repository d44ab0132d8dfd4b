"""Retention: settled jobs go when they are old enough, and nothing else does, whoever is second."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from celery_external import (
    ExternalTask,
    JobAlreadyCompletedError,
    JobNotFoundError,
    OptionError,
    RerunRefusedError,
    Succeeded,
    retention,
    states,
)
from celery_external.schema import history, kept_signal
from celery_external.store import attempts, kept, purging
from tests.rows import Rows, ask
from tests.test_states_races import Waiters, wait_until_locked

DAY = 86400.0
MONTH = 30 * DAY
MakeRows = Callable[..., Rows]


@pytest.fixture
def make_rows(database_url: str) -> Iterator[MakeRows]:
    """Makes apps with settings of their own, on both databases."""
    made: list[Rows] = []

    def make(**conf: Any) -> Rows:
        made.append(Rows(database_url, **conf))
        return made[-1]

    yield make
    for rows in made:
        rows.close()


def lines(rows: Rows, table: sa.Table = history) -> int:
    """How many rows a table has."""
    with rows.database.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(table)).scalar_one()


def settled(rows: Rows, *, age: float = MONTH + 60) -> str:
    """A settled job whose outcome is so many seconds old."""
    job_id = rows.settled()
    rows.move(job_id, completed_at=-age)
    return job_id


# --- What the sweep purges ------------------------------------------------------------------------


def test_a_sweep_purges_what_is_older_than_the_retention(rows: Rows) -> None:
    old, young = settled(rows), settled(rows, age=MONTH - 60)
    rows.external.sweep()
    assert (rows.find(old), rows.history(old)) == (None, [])
    assert rows.find(young) is not None
    assert rows.events(young) == ["succeeded"]


@pytest.mark.parametrize("given", [DAY, timedelta(days=1)], ids=["seconds", "timedelta"])
def test_the_retention_is_a_setting(make_rows: MakeRows, given: object) -> None:
    rows = make_rows(external_retention=given)
    old, young = settled(rows, age=DAY + 60), settled(rows, age=DAY - 60)
    rows.external.sweep()
    assert (rows.find(old) is None, rows.find(young) is None) == (True, False)


def test_without_a_retention_jobs_are_kept_for_ever(make_rows: MakeRows) -> None:
    rows = make_rows(external_retention=None)
    job_id = settled(rows, age=1000 * DAY)
    rows.external.sweep()
    assert rows.find(job_id) is not None


def test_the_history_may_stay(make_rows: MakeRows) -> None:
    rows = make_rows(external_purge_history=False)
    job_id = settled(rows)
    rows.external.sweep()
    assert rows.find(job_id) is None
    assert rows.events(job_id) == ["succeeded"]


UNSETTLED = ["pending", "started", "retry", "parked", "early", "owed", "claimed", "timed_out"]


def test_what_is_open_or_owed_is_never_purged(rows: Rows) -> None:
    for state in UNSETTLED:
        job_id = getattr(rows, state)()
        before = rows.get(job_id)
        long_ago = dict.fromkeys(("created_at", "started_at", "parked_at"), -1000 * DAY)
        if before["completed_at"] is not None:
            long_ago["completed_at"] = -1000 * DAY
        rows.move(job_id, **long_ago)

        assert rows.external.purge(older_than=0) == 0, state
        rows.external.sweep()

        assert rows.get(job_id)["kind"] == before["kind"], state


def test_a_stuck_outcome_is_kept(rows: Rows) -> None:
    job_id = rows.owed()
    rows.move(job_id, completed_at=-1000 * DAY)
    rows.write(job_id, sends=10)
    assert rows.external.purge(older_than=0) == 0
    assert rows.external.get_job(job_id).stuck


def test_other_namespaces_keep_theirs(rows: Rows, make_rows: MakeRows) -> None:
    other = make_rows(external_namespace="other")
    job_id = settled(other)
    rows.external.sweep()
    assert rows.external.purge(older_than=0) == 0
    assert other.find(job_id) is not None


def test_a_sweep_purges_a_part_of_a_backlog(rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    rows.copy(settled(rows), 1399)
    with caplog.at_level(logging.INFO, "celery_external"):
        retention.purge_old(rows.installation, limit=1200)
    assert rows.count() == 200
    assert "1200 settled jobs are purged, older than 2592000 s" in caplog.text
    rows.external.sweep()
    assert rows.count() == 0


# --- What belongs to it ---------------------------------------------------------------------------


def mind_late_signals(rows: Rows) -> None:
    """Have the task make up for outcomes that come too late."""
    rows.app.tasks.pop("rows.ask")
    make: Any = rows.app.task(
        base=ExternalTask, name="rows.ask", shared=False, on_late_signal=lambda *_: None
    )
    rows.task = make(ask)


def test_a_job_whose_late_signal_is_to_be_told_waits_for_it(rows: Rows) -> None:
    mind_late_signals(rows)
    job_id = settled(rows)
    with pytest.raises(JobAlreadyCompletedError):
        rows.external.signal_failed(job_id, "too late")
    (number,) = kept_numbers(rows)
    rows.external.sweep()
    assert rows.external.purge(older_than=0) == 0
    assert rows.find(job_id) is not None

    with rows.database.alone() as tx:
        kept.drop(tx, rows.namespace, number)
    rows.external.sweep()
    assert rows.find(job_id) is None


def kept_numbers(rows: Rows) -> list[int]:
    """The signals that are kept."""
    with rows.database.engine.connect() as connection:
        return list(connection.execute(sa.select(kept_signal.c.id)).scalars())


def test_what_is_known_of_its_references_goes_with_it(rows: Rows) -> None:
    job_id, other = rows.parked(), rows.parked()
    for n, one in enumerate((job_id, other)):
        rows.write(one, reference=f"r{n}")
        rows.external.rerun_job(one)
    assert lines(rows, kept_signal) == 2
    rows.external.cancel_job(job_id)
    rows.sent()
    assert rows.take(job_id)
    rows.settle(job_id)
    rows.move(job_id, completed_at=-MONTH - 60)

    rows.external.sweep()

    assert rows.find(job_id) is None
    assert lines(rows, kept_signal) == 1
    assert rows.find(other) is not None


def test_a_job_that_other_steps_replace_is_kept_while_one_is_open(rows: Rows) -> None:
    replaced, step = rows.continued(), rows.parked()
    root = rows.get(replaced)["root_id"]
    rows.write(replaced, wake_at=None)
    rows.write(step, root_id=root)
    rows.move(replaced, completed_at=-1000 * DAY)

    assert rows.external.purge() == 0
    rows.external.signal_succeeded(step, 1)
    # Owed is not yet over.
    assert rows.external.purge() == 0
    assert rows.take(step)
    rows.settle(step)

    assert rows.external.purge() == 1
    assert (rows.find(replaced), rows.find(step) is None) == (None, False)


def test_jobs_of_one_canvas_go_one_by_one(rows: Rows) -> None:
    done, waits = settled(rows), rows.parked()
    rows.write(waits, root_id=rows.get(done)["root_id"])
    rows.external.sweep()
    assert (rows.find(done), rows.find(waits) is None) == (None, False)


def test_of_a_purged_job_nothing_is_known(rows: Rows) -> None:
    job_id = settled(rows)
    rows.write(job_id, reference="r1")
    rows.external.sweep()
    tries: list[Callable[[str], object]] = [
        rows.external.get_job,
        rows.external.signal_succeeded,
        lambda one: rows.external.signal_failed(one, "late"),
        lambda one: rows.external.signal_progress(one, 1),
        rows.external.cancel_job,
        rows.external.rerun_job,
        lambda one: rows.external.extend_job(one, timeout=60),
    ]
    for call in tries:
        with pytest.raises(JobNotFoundError):
            call(job_id)
    (receipt,) = rows.external.signal_many([(job_id, Succeeded(1))])
    assert (receipt.status, type(receipt.error)) == ("refused", JobNotFoundError)
    assert rows.history(job_id) == []


def test_a_message_of_a_purged_job_that_comes_late_does_nothing(rows: Rows) -> None:
    job_id = settled(rows)
    rows.external.sweep()
    assert rows.take(job_id, attempt=1, is_redelivered=True) is None
    assert rows.find(job_id) is None


# --- By hand --------------------------------------------------------------------------------------


def test_a_purge_takes_what_is_asked_for(rows: Rows) -> None:
    done, failed = settled(rows, age=100), rows.cancelled()
    rows.move(failed, completed_at=-100)
    purge = rows.external.purge
    assert purge() == 0
    assert purge(older_than=200) == 0
    assert purge(older_than=50, task="rows.other") == 0
    assert purge(older_than=50, state=states.FAILURE) == 0
    assert purge(older_than=timedelta(seconds=50), state=states.REVOKED, task="rows.ask") == 1
    assert (rows.find(failed), rows.find(done) is None) == (None, False)
    assert purge(older_than=0, keep_history=True) == 1
    assert rows.events(done) == ["succeeded"]
    assert rows.events(failed) == []


def test_a_purge_by_hand_beats_the_setting(make_rows: MakeRows) -> None:
    rows = make_rows(external_purge_history=False, external_retention=None)
    kept_one, gone = settled(rows), settled(rows)
    assert rows.external.purge(older_than=MONTH, limit=1) == 1
    assert rows.external.purge(older_than=MONTH, keep_history=False) == 1
    assert (rows.events(kept_one), rows.events(gone)) == (["succeeded"], [])


def test_a_purge_is_of_the_oldest_first_and_of_no_more_than_its_limit(rows: Rows) -> None:
    job_ids = [settled(rows, age=MONTH + n * DAY) for n in range(1, 4)]
    assert rows.external.purge(limit=2) == 2
    assert [rows.find(job_id) is None for job_id in job_ids] == [False, True, True]
    rows.copy(job_ids[0], 1099)
    assert rows.external.purge(limit=501) == 501
    assert rows.external.purge() == 599


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"older_than": -1}, "older_than: must be a number of seconds, 0 or more, not -1"),
    ({"older_than": "5"}, "older_than: must be a number of seconds, 0 or more, not '5'"),
    ({"older_than": True}, "older_than: must be a number of seconds, 0 or more, not True"),
    ({"state": "PARKED"}, "state: must be one of FAILURE, REVOKED, SUCCESS, not 'PARKED'"),
    ({"state": 5}, "state: must be one of FAILURE, REVOKED, SUCCESS, not 5"),
    ({"task": 5}, "task: must be a text, not 5"),
    ({"keep_history": 1}, "keep_history: must be True or False, not 1"),
    ({"limit": 0}, "limit: must be a number from 1, not 0"),
    ({"limit": True}, "limit: must be a number from 1, not True"),
]


def test_what_cannot_be_purged_by_is_refused(rows: Rows) -> None:
    job_id = settled(rows)
    for given, problem in REFUSED:
        with pytest.raises(OptionError) as caught:
            rows.external.purge(**given)
        assert str(caught.value) == problem
    assert rows.find(job_id) is not None


def test_a_purge_says_how_old_where_there_is_no_retention(make_rows: MakeRows) -> None:
    rows = make_rows(external_retention=None)
    with pytest.raises(OptionError) as caught:
        rows.external.purge()
    assert str(caught.value) == "older_than: is needed: external_retention is None"


# --- Two at once ----------------------------------------------------------------------------------


def failed(rows: Rows) -> str:
    """A job that failed long ago."""
    job_id = rows.parked()
    rows.external.signal_failed(job_id, "no")
    rows.sent()
    assert rows.take(job_id)
    rows.settle(job_id)
    rows.move(job_id, completed_at=-MONTH - 60)
    return job_id


def test_a_rerun_that_comes_second_finds_no_job(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = failed(rows)
    waiters = Waiters(rows)
    with rows.database.transaction() as tx:
        ids = purging.lock_old(tx, rows.namespace, MONTH, {}, 10)
        assert ids == [job_id]
        rerun = pool.submit(rows.external.rerun_job, job_id)
        waiters.wait_for(1)
        purging.delete(tx, rows.namespace, ids, keep_history=False)
    with pytest.raises(JobNotFoundError):
        rerun.result(timeout=30)
    assert (rows.find(job_id), lines(rows), rows.sent()) == (None, 0, [])


def test_a_purge_passes_over_a_job_that_is_run_again(postgres_url: str) -> None:
    with closing(Rows(postgres_url)) as rows:
        held, free = failed(rows), failed(rows)
        with rows.database.transaction() as tx:
            row = rows.get(held)
            assert attempts.rerun(tx, row, deadline=None, wake_in=60, by="me", reason=None)
            # Nobody waits for the lock.
            assert rows.external.purge() == 1
        assert rows.find(free) is None
        assert rows.get(held)["attempt"] == 2
        assert rows.events(held) == ["failed", "rerun"]
        assert rows.external.purge(older_than=0) == 0


def test_a_purge_after_a_rerun_looks_at_the_job_as_it_stands(
    sqlite_url: str, pool: ThreadPoolExecutor
) -> None:
    with closing(Rows(sqlite_url)) as rows:
        job_id = failed(rows)
        waiters = Waiters(rows)
        with rows.database.transaction() as tx:
            row = rows.get(job_id)
            assert attempts.rerun(tx, row, deadline=None, wake_in=60, by="me", reason=None)
            purge = pool.submit(rows.external.purge)
            waiters.wait_for(1)
        assert purge.result(timeout=30) == 0
        assert rows.get(job_id)["attempt"] == 2


def test_purges_at_once_share_the_work(rows: Rows, pool: ThreadPoolExecutor) -> None:
    rows.copy(settled(rows), 1999)
    purges = [pool.submit(rows.external.purge) for _ in range(4)]
    assert sum(purge.result(timeout=60) for purge in purges) == 2000
    assert rows.count() == 0


def test_a_reader_sees_the_job_with_its_history_or_neither(
    postgres_url: str,
) -> None:
    with closing(Rows(postgres_url)) as rows:
        job_id = settled(rows)
        with rows.database.transaction() as tx:
            ids = purging.lock_old(tx, rows.namespace, MONTH, {}, 10)
            purging.delete(tx, rows.namespace, ids, keep_history=False)
            # Not committed: others have it all.
            assert [e.event for e in rows.external.get_job(job_id).history] == ["succeeded"]
        assert rows.find(job_id) is None


def test_what_is_said_of_a_job_that_is_being_purged_leaves_nothing(
    rows: Rows, pool: ThreadPoolExecutor
) -> None:
    job_id = settled(rows)
    waiters = Waiters(rows)
    with rows.database.transaction() as tx:
        ids = purging.lock_old(tx, rows.namespace, MONTH, {}, 10)
        late = pool.submit(rows.external.signal_failed, job_id, "late")
        waiters.wait_for(1)
        assert purging.delete(tx, rows.namespace, ids, keep_history=False) == 1
    with pytest.raises(JobNotFoundError):
        late.result(timeout=30)
    assert (rows.find(job_id), lines(rows), lines(rows, kept_signal)) == (None, 0, 0)


def test_a_job_is_kept_for_what_was_said_of_it_as_the_purge_came(postgres_url: str) -> None:
    with closing(Rows(postgres_url)) as rows:
        job_id = settled(rows)
        with rows.database.transaction() as tx:
            ids = purging.lock_old(tx, rows.namespace, MONTH, {}, 10)
            # Committed since the purge looked, and before it had the lock.
            late = {
                "task": rows.get(job_id)["task"],
                "job_id": job_id,
                "attempt": 1,
                "kind": states.FAILED,
            }
            with rows.database.alone() as other:
                kept.keep(other, rows.namespace, late, 60)
            assert purging.delete(tx, rows.namespace, ids, keep_history=False) == 0
        assert rows.events(job_id) == ["succeeded"]


def test_a_replaced_job_is_kept_for_the_step_that_will_have_its_id(rows: Rows) -> None:
    old, young = rows.continued(), rows.continued()
    for job_id, age in ((old, MONTH + 60), (young, MONTH - 60)):
        rows.write(job_id, wake_at=None)
        rows.move(job_id, completed_at=-age)
    assert rows.external.purge(older_than=0) == 1
    assert (rows.find(old), rows.find(young) is None) == (None, False)


def test_a_rerun_that_is_refused_names_what_came_first(
    postgres_url: str, pool: ThreadPoolExecutor
) -> None:
    with closing(Rows(postgres_url)) as rows:
        job_id = failed(rows)
        with rows.database.transaction() as tx:
            row = rows.get(job_id)
            assert attempts.rerun(tx, row, deadline=None, wake_in=60, by="me", reason=None)
            second = pool.submit(rows.external.rerun_job, job_id)
            wait_until_locked(rows.database.url, 1)
            assert rows.external.purge() == 0
        with pytest.raises(RerunRefusedError):
            second.result(timeout=30)
