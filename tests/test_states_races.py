"""Two at once: the winner holds the row's lock, the loser is seen to wait, one is applied.

On PostgreSQL the loser waits for the row (``pg_stat_activity`` says so); on SQLite, where writers
take turns, it waits with its ``BEGIN IMMEDIATE`` (the statement's trace says that it is in it).
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest
import sqlalchemy as sa

from celery_external import (
    External,
    JobAlreadyCompletedError,
    Receipt,
    RerunRefusedError,
    StaleAttemptError,
    Succeeded,
)
from celery_external.payload import outcome_columns
from celery_external.store import attempts, decisions, read, times
from celery_external.store.database import Transaction
from tests.rows import Rows
from tests.waiting import wait_for

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = %s AND wait_event_type = 'Lock'"

Winner = Callable[[Rows, Transaction, str], object]
Loser = Callable[[External, str], object]


class Waiters:
    """Sees who waits for a lock in the database."""

    def __init__(self, rows: Rows) -> None:
        self._url = rows.database.url
        self._begun: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._main = threading.get_ident()
        if self._url.get_backend_name() == "sqlite":
            sa.event.listen(rows.database.engine, "checkout", self._trace)

    def _trace(self, connection: Any, *_args: object) -> None:
        if threading.get_ident() != self._main:
            connection.set_trace_callback(self._note)

    def _note(self, statement: str) -> None:
        if statement == "BEGIN IMMEDIATE":
            self._begun.put(statement)

    def wait_for(self, number: int) -> None:
        """Return when so many wait."""
        if self._url.get_backend_name() == "sqlite":
            for _ in range(number):
                self._begun.get(timeout=30)
            return
        wait_until_locked(self._url, number)


def wait_until_locked(url: sa.URL, number: int) -> None:
    """Return when so many wait for a lock in a database on PostgreSQL."""
    plain = url.set(drivername="postgresql").render_as_string()
    with psycopg.connect(plain, autocommit=True) as connection:
        wait_for(
            lambda: connection.execute(WAITING, (url.database,)).fetchone() == (number,),
            what=f"{number} to wait for the lock",
        )


# --- Who holds the lock, and who comes second -----------------------------------------------------


def succeeding(rows: Rows, tx: Transaction, job_id: str) -> object:
    return decisions.decide(
        tx,
        namespace=rows.namespace,
        job_id=job_id,
        attempt=None,
        outcome=rows.outcome("first"),
        by="winner",
        wake_in=60,
    )


def cancelling(rows: Rows, tx: Transaction, job_id: str) -> object:
    return decisions.decide(
        tx,
        namespace=rows.namespace,
        job_id=job_id,
        attempt=None,
        outcome=outcome_columns("cancelled", reason="called off"),
        by="winner",
        wake_in=60,
    )


def timing_out(rows: Rows, tx: Transaction, job_id: str) -> object:
    (due,) = read.lock_due(tx, rows.namespace, 10)
    late = outcome_columns("timed_out", reason="The deadline has passed")
    return times.expire(tx, rows.namespace, [due["id"]], late, 60) and due["id"] == job_id


def rerunning(rows: Rows, tx: Transaction, job_id: str) -> object:
    row = read.get(tx, rows.namespace, job_id)
    assert row is not None
    return attempts.rerun(tx, row, deadline=None, wake_in=60, by="winner", reason=None)


def extending(rows: Rows, tx: Transaction, job_id: str) -> object:
    return times.extend(
        tx,
        namespace=rows.namespace,
        job_id=job_id,
        attempt=None,
        timeout=1000,
        deadline=None,
        by="winner",
        reason=None,
    )


def another(external: External, job_id: str) -> object:
    return external.signal_succeeded(job_id, "second")


def the_same(external: External, job_id: str) -> object:
    return external.signal_succeeded(job_id, "first")


def many(external: External, job_id: str) -> object:
    (receipt,) = external.signal_many([(job_id, Succeeded("second"))])
    assert receipt.error is not None
    raise receipt.error


def failure(external: External, job_id: str) -> object:
    return external.signal_failed(job_id, "second")


def cancel(external: External, job_id: str) -> object:
    return external.cancel_job(job_id)


def extend(external: External, job_id: str) -> object:
    return external.extend_job(job_id, timeout=1000)


def of_attempt_1(external: External, job_id: str) -> object:
    return external.signal_succeeded(job_id, "second", attempt=1)


def rerun(external: External, job_id: str) -> object:
    return external.rerun_job(job_id)


def told(loser: Future[object]) -> str:
    """What the loser was told: its receipt's status, or the name of its error."""
    error = loser.exception(timeout=30)
    if error is not None:
        return type(error).__name__
    result = loser.result()
    return result.status if isinstance(result, Receipt) else type(result).__name__


REFUSED = JobAlreadyCompletedError.__name__
STALE = StaleAttemptError.__name__
NOT_AGAIN = RerunRefusedError.__name__


@dataclass(frozen=True)
class Race:
    """Who has the lock, who waits for it, what the loser is told, and the history."""

    winner: Winner
    loser: Loser
    told: str
    history: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.winner.__name__}-{self.loser.__name__}"


RACES = [
    Race(succeeding, another, REFUSED, ("succeeded", "refused")),
    Race(succeeding, the_same, "duplicate", ("succeeded",)),
    Race(succeeding, many, REFUSED, ("succeeded", "refused")),
    Race(succeeding, failure, REFUSED, ("succeeded", "refused")),
    Race(succeeding, cancel, REFUSED, ("succeeded", "refused")),
    Race(succeeding, extend, REFUSED, ("succeeded", "refused")),
    Race(succeeding, rerun, NOT_AGAIN, ("succeeded",)),
    Race(cancelling, another, REFUSED, ("cancelled", "refused")),
    Race(cancelling, cancel, "duplicate", ("cancelled",)),
    Race(timing_out, another, REFUSED, ("timed_out", "refused")),
    Race(timing_out, cancel, REFUSED, ("timed_out", "refused")),
    Race(timing_out, extend, REFUSED, ("timed_out", "refused")),
    Race(rerunning, of_attempt_1, STALE, ("rerun", "refused")),
    Race(rerunning, rerun, NOT_AGAIN, ("rerun",)),
    Race(extending, another, "applied", ("extended", "succeeded")),
]


@pytest.mark.parametrize("race", RACES, ids=str)
def test_the_second_waits_and_is_told(rows: Rows, pool: ThreadPoolExecutor, race: Race) -> None:
    job_id = rows.parked(timeout=100)
    rows.move(job_id, wake_at=-1, deadline=-1)
    waiters = Waiters(rows)

    with rows.database.transaction() as tx:
        assert race.winner(rows, tx, job_id)
        second = pool.submit(race.loser, rows.external, job_id)
        waiters.wait_for(1)
        assert not second.done()

    assert told(second) == race.told
    assert tuple(rows.events(job_id)) == race.history


def test_many_wait_and_all_are_told(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = rows.parked()
    waiters = Waiters(rows)

    with rows.database.transaction() as tx:
        assert succeeding(rows, tx, job_id)
        losers = [pool.submit(one, rows.external, job_id) for one in (another, failure, cancel)]
        waiters.wait_for(3)

    assert [told(loser) for loser in losers] == [REFUSED] * 3
    assert rows.external.get_job(job_id).result == "first"
    assert rows.events(job_id) == ["succeeded", "refused", "refused", "refused"]


def test_the_second_wins_when_the_first_rolls_back(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = rows.parked()
    waiters = Waiters(rows)

    with suppress(ZeroDivisionError), rows.database.transaction() as tx:
        assert succeeding(rows, tx, job_id)
        second = pool.submit(another, rows.external, job_id)
        waiters.wait_for(1)
        raise ZeroDivisionError

    assert told(second) == "applied"
    assert rows.external.get_job(job_id).result == "second"
    assert rows.events(job_id) == ["succeeded"]


def test_a_signal_that_waits_counts_for_the_attempt_that_has_begun(
    rows: Rows, pool: ThreadPoolExecutor
) -> None:
    job_id = rows.parked()
    waiters = Waiters(rows)

    with rows.database.transaction() as tx:
        assert rerunning(rows, tx, job_id)
        second = pool.submit(another, rows.external, job_id)
        waiters.wait_for(1)

    receipt = second.result(timeout=30)
    assert isinstance(receipt, Receipt)
    assert (receipt.status, receipt.attempt) == ("applied", 2)
    assert rows.events(job_id) == ["rerun", "succeeded"]


def test_a_sweep_passes_over_what_a_signal_holds(postgres_url: str) -> None:
    with closing(Rows(postgres_url)) as rows:
        held, free = rows.parked(timeout=100), rows.parked(timeout=100)
        rows.move_all(wake_at=-1, deadline=-1)

        with rows.database.transaction() as tx:
            assert succeeding(rows, tx, held)
            assert rows.external.sweep() == 1
            assert rows.events(free) == ["timed_out"]

        assert rows.external.sweep() == 0
        assert rows.events(held) == ["succeeded"]


def test_a_sweep_passes_over_what_another_sweep_holds(postgres_url: str) -> None:
    with closing(Rows(postgres_url)) as rows:
        job_ids = [rows.parked(timeout=100) for _ in range(3)]
        rows.move_all(wake_at=-1, deadline=-1)

        with rows.database.transaction() as tx:
            assert len(read.lock_due(tx, rows.namespace, 2)) == 2
            assert rows.external.sweep() == 1

        assert rows.external.sweep() == 2
        assert [rows.events(job_id) for job_id in job_ids] == [["timed_out"]] * 3


def test_a_sweep_on_sqlite_waits_for_its_turn(sqlite_url: str, pool: ThreadPoolExecutor) -> None:
    with closing(Rows(sqlite_url)) as rows:
        job_id = rows.parked(timeout=100)
        rows.move(job_id, wake_at=-1, deadline=-1)
        waiters = Waiters(rows)

        with rows.database.transaction() as tx:
            assert timing_out(rows, tx, job_id)
            second = pool.submit(rows.external.sweep)
            waiters.wait_for(1)

        assert second.result(timeout=30) == 0
        assert rows.events(job_id) == ["timed_out"]


def test_two_deliveries_at_once_run_one_claim(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = rows.owed()
    ready = threading.Barrier(8)

    def deliver(number: int) -> bool:
        ready.wait()
        return rows.take(job_id, claim=f"worker {number}") is not None

    assert sorted(pool.map(deliver, range(8))) == [False] * 7 + [True]
