"""Signals by the outside system's own id, also from one that is faster than the trigger."""

from __future__ import annotations

import logging
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace
from typing import Any

import pytest
import sqlalchemy as sa
from celery import chain

from celery_external import (
    ExternalJobFailed,
    Failed,
    JobAlreadyCompletedError,
    OptionError,
    Progress,
    Receipt,
    StaleAttemptError,
    Succeeded,
    UnserializableError,
    references,
    states,
)
from celery_external.current import CurrentJob
from celery_external.schema import kept_signal
from celery_external.store import attempts, deliveries, kept
from celery_external.tokens import verify
from tests.conftest import OUTSIDE_KEY
from tests.rows import CLAIM, Rows
from tests.systems import System
from tests.waiting import wait_for

KEPT = Receipt("", attempt=0, status="kept")


def count_kept(rows: Rows) -> int:
    with rows.database.engine.connect() as connection:
        return connection.execute(sa.select(sa.func.count()).select_from(kept_signal)).scalar_one()


def refer(rows: Rows, job_id: str, reference: str, **as_seen: Any) -> None:
    """Set the reference in a trigger, which sees the row with ``as_seen``."""
    row = {**rows.get(job_id), **as_seen}
    delivery: Any = SimpleNamespace(
        installation=rows.installation, task=rows.task, row=row, claim=CLAIM
    )
    CurrentJob(delivery).reference = reference


def age(rows: Rows, *, at: float = 0, wake_at: float = -1, is_ended: bool = False) -> None:
    """As if the kept signals had waited for a while."""
    values = {"at": at, "wake_at": wake_at}
    moved = {name: sa.text(_from_now(rows, seconds)) for name, seconds in values.items()}
    with rows.database.engine.connect() as connection:
        which = (kept_signal.c.kind == kept.ENDED) == is_ended
        connection.execute(sa.update(kept_signal).where(which).values(**moved))


def _from_now(rows: Rows, seconds: float) -> str:
    if rows.database.dialect_name == "postgresql":
        return f"clock_timestamp() + interval '{seconds} seconds'"
    return f"strftime('%Y-%m-%d %H:%M:%f000', 'now', '{seconds} seconds')"


# --- A job has it ---------------------------------------------------------------------------------


def test_a_signal_by_reference_is_the_jobs(rows: Rows) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    receipt = rows.task.signal_succeeded(reference="r-1", result=7, by="provider", reason="done")
    assert (receipt.job_id, receipt.attempt, receipt.status) == (job_id, 1, "applied")
    job = rows.external.get_job(job_id)
    assert (job.result, job.completed_by, job.reason) == (7, "provider", "done")
    again = rows.task.signal_succeeded(reference="r-1", result=7)
    assert again.status == "duplicate"
    with pytest.raises(JobAlreadyCompletedError):
        rows.task.signal_failed(reference="r-1", reason="no")


def test_a_failure_by_reference(rows: Rows) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    assert rows.task.signal_failed(reference="r-1", reason="no").status == "applied"
    assert rows.external.get_job(job_id).reason == "no"


def test_a_reference_is_one_tasks_own(rows: Rows) -> None:
    refer(rows, rows.started(), "r-1")
    said = references.signal(rows.installation, "another.task", "r-1", Succeeded())
    assert said == KEPT


def begin_again(rows: Rows, job_id: str, how: str) -> None:
    """Have the next attempt begin, with a reference of its own."""
    if how == "retry":
        assert rows.begin_next_attempt(rows.get(job_id), states.RETRY)
    elif how == "rerun":
        assert rows.park(rows.get(job_id))
        rows.external.rerun_job(job_id)
    else:
        rows.write(job_id, kind=states.CONTINUED, state=states.SUCCESS, claim=None)
        with rows.database.transaction() as tx:
            assert attempts.begin_next_attempt(
                tx, namespace=rows.namespace, job_id=job_id, row=None, claim=None,
                start=rows.get(job_id), state=states.PENDING, wake_in=60, event="continued",
            )  # fmt: skip
    assert rows.take(job_id)
    refer(rows, job_id, "r-2")


@pytest.mark.parametrize("how", ["retry", "rerun", "replacement"])
def test_the_reference_of_an_attempt_that_is_over_is_still_that_attempts(
    rows: Rows, how: str
) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    begin_again(rows, job_id, how)
    with pytest.raises(StaleAttemptError) as caught:
        rows.task.signal_succeeded(reference="r-1")
    assert (caught.value.job_id, caught.value.attempt, caught.value.current) == (job_id, 1, 2)
    assert rows.external.get_job(job_id).is_open
    assert rows.events(job_id)[-1] == "refused"
    assert rows.task.signal_succeeded(reference="r-2", result=2).attempt == 2


def test_a_reference_that_the_next_attempt_has_again_is_its(rows: Rows) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    assert rows.begin_next_attempt(rows.get(job_id), states.RETRY)
    # As with an idempotency key: the next trigger may come to the same work.
    assert rows.task.signal_succeeded(reference="r-1", result=2) == KEPT
    assert rows.take(job_id)
    refer(rows, job_id, "r-1")
    job = rows.external.get_job(job_id)
    assert (job.attempt, job.result) == (2, 2)
    assert rows.task.signal_succeeded(reference="r-1", result=2).status == "duplicate"


def test_a_reference_that_the_next_attempt_does_not_have_is_stale(rows: Rows) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    assert rows.begin_next_attempt(rows.get(job_id), states.RETRY)
    assert rows.task.signal_succeeded(reference="r-1", result=2) == KEPT
    assert rows.take(job_id)
    refer(rows, job_id, "r-2")
    age(rows)
    rows.external.sweep()
    job = rows.external.get_job(job_id)
    assert (job.is_open, job.history[-1].event, job.history[-1].attempt) == (True, "refused", 1)
    assert rows.task.signal_succeeded(reference="r-2", result=2).attempt == 2


def test_a_trigger_that_has_begun_the_work_twice(rows: Rows) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    refer(rows, job_id, "r-2")
    receipt = rows.task.signal_succeeded(reference="r-1", result=1)
    assert (receipt.job_id, receipt.attempt, receipt.status) == (job_id, 1, "applied")
    with pytest.raises(JobAlreadyCompletedError):
        rows.task.signal_succeeded(reference="r-2", result=2)


def test_a_trigger_that_was_lost_and_goes_on(rows: Rows) -> None:
    job_id = rows.started()
    lost = rows.get(job_id)
    assert rows.begin_next_attempt(lost, states.RETRY)
    assert rows.take(job_id)
    refer(rows, job_id, "r-2")
    refer(rows, job_id, "r-1", attempt=1)
    with pytest.raises(StaleAttemptError):
        rows.task.signal_succeeded(reference="r-1")
    assert rows.external.get_job(job_id).reference == "r-2"


def test_a_sweep_looks_at_all_that_is_due(rows: Rows) -> None:
    for number in range(references.BATCH + 1):
        rows.task.signal_succeeded(reference=f"r-{number}")
    age(rows)
    rows.external.sweep()
    with rows.database.engine.connect() as connection:
        assert connection.scalars(sa.select(kept_signal.c.sends).distinct()).all() == [1]


def test_a_reference_of_an_attempt_that_is_over_is_forgotten_after_a_month(rows: Rows) -> None:
    job_id = rows.started()
    refer(rows, job_id, "r-1")
    begin_again(rows, job_id, "retry")
    with rows.database.engine.connect() as connection:
        row = connection.execute(sa.select(kept_signal)).mappings().one()
    assert (row["wake_at"] - row["at"]).total_seconds() == pytest.approx(30 * 86400, abs=1)
    rows.external.sweep()
    assert count_kept(rows) == 1
    age(rows, is_ended=True)
    rows.external.sweep()
    assert count_kept(rows) == 0
    assert rows.task.signal_succeeded(reference="r-1") == KEPT


@pytest.mark.parametrize(
    "given",
    [{}, {"job": "x", "reference": "r"}, {"reference": "r", "attempt": 1}],
    ids=["neither", "both", "with an attempt"],
)
def test_a_signal_names_a_job_or_a_reference(rows: Rows, given: dict[str, Any]) -> None:
    for signal in (rows.task.signal_succeeded, rows.task.signal_failed):
        with pytest.raises(OptionError) as caught:
            signal(**given)
        problem = "reference: give either a job or a reference, which names both"
        assert str(caught.value) == problem
    assert count_kept(rows) == 0


@pytest.mark.parametrize(
    ("said", "error"),
    [
        ({"reference": ""}, OptionError),
        ({"reference": "x" * 256}, OptionError),
        ({"reference": "a\x00"}, OptionError),
        ({"reference": "r", "result": object()}, UnserializableError),
        ({"reference": "r", "by": 5}, OptionError),
    ],
)
def test_what_cannot_be_kept_is_refused_at_once(
    rows: Rows, said: dict[str, Any], error: type[Exception]
) -> None:
    with pytest.raises(error):
        rows.task.signal_succeeded(**said)
    assert count_kept(rows) == 0


def test_an_outcome_must_be_one(rows: Rows) -> None:
    wrong: Any = "done"
    with pytest.raises(OptionError):
        references.signal(rows.installation, rows.task.name, "r-1", wrong)


# --- No job has it yet ----------------------------------------------------------------------------

EARLY = [
    (Succeeded({"url": "u"}), "succeeded", {"url": "u"}, None),
    (Failed("no"), "failed", None, "no"),
    (Failed(LookupError("none")), "failed", None, "LookupError: none"),
]


@pytest.mark.parametrize(("outcome", "kind", "result", "reason"), EARLY, ids=repr)
def test_a_signal_counts_as_soon_as_the_trigger_sets_its_reference(
    rows: Rows, outcome: Any, kind: str, result: Any, reason: str | None
) -> None:
    job_id = rows.started()
    said = references.signal(rows.installation, rows.task.name, "r-1", outcome, by="provider")
    assert said == KEPT
    assert rows.external.get_job(job_id).is_open
    refer(rows, job_id, "r-1")
    job = rows.external.get_job(job_id)
    assert (job.kind, job.result, job.reason, job.completed_by) == (
        kind,
        result,
        reason,
        "provider",
    )
    assert count_kept(rows) == 0


def test_the_first_of_several_counts_and_the_others_are_in_the_history(rows: Rows) -> None:
    job_id = rows.started()
    name = rows.task.name
    references.signal(rows.installation, name, "r-1", Progress(1, 2, "half"))
    rows.task.signal_succeeded(reference="r-1", result=1)
    rows.task.signal_failed(reference="r-1", reason="no")
    references.signal(rows.installation, name, "r-1", Progress(2, 2))
    refer(rows, job_id, "r-1")
    job = rows.external.get_job(job_id)
    assert job.progress is not None
    assert (job.result, job.progress.message) == (1, "half")
    assert rows.events(job_id) == ["succeeded", "refused", "refused"]
    assert count_kept(rows) == 0


def test_a_trigger_that_died_after_it_set_the_reference(rows: Rows) -> None:
    job_id = rows.started()
    rows.task.signal_succeeded(reference="r-1", result=1)
    with rows.database.alone() as tx:
        assert deliveries.save_reference(tx, rows.get(job_id), CLAIM, "r-1")
    rows.external.sweep()
    assert rows.external.get_job(job_id).is_open
    age(rows)
    rows.external.sweep()
    assert rows.external.get_job(job_id).result == 1
    assert count_kept(rows) == 0


def test_the_sweep_waits_longer_each_time(rows: Rows) -> None:
    rows.task.signal_succeeded(reference="r-1")
    for sends in (1, 2, 3):
        age(rows)
        rows.external.sweep()
        with rows.database.engine.connect() as connection:
            (row,) = connection.execute(sa.select(kept_signal)).mappings()
        assert row["sends"] == sends
        wait = (row["wake_at"] - row["at"]).total_seconds()
        assert wait == pytest.approx(60 * 4**sends, abs=30)


def test_a_signal_that_nobody_claims_is_dropped_after_a_day(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    rows.task.signal_succeeded(reference="r-1")
    age(rows, at=-86300)
    rows.external.sweep()
    assert count_kept(rows) == 1
    age(rows, at=-86500)
    with caplog.at_level(logging.WARNING, "celery_external"):
        rows.external.sweep()
    assert count_kept(rows) == 0
    (message,) = caplog.messages
    assert message == (
        "A signal (succeeded) for the reference 'r-1' of rows.ask is dropped: no job has had it "
        "for a day"
    )


def test_signals_are_one_namespaces_own(rows: Rows) -> None:
    rows.task.signal_succeeded(reference="r-1")
    with rows.database.alone() as tx:
        assert kept.take_all(tx, "another", rows.task.name, "r-1") == []
        age(rows)
        assert kept.lock_due(tx, "another", 86400, 10) == []
    assert count_kept(rows) == 1


def test_whoever_is_second_sees_the_other(rows: Rows, pool: ThreadPoolExecutor) -> None:
    """The webhook and the trigger at once, many times: no signal is left lying."""
    jobs = [rows.started() for _ in range(20)]
    refer_all = [pool.submit(refer, rows, job_id, f"r-{job_id}") for job_id in jobs]
    signal_all = [
        pool.submit(rows.task.signal_succeeded, reference=f"r-{job_id}", result=job_id)
        for job_id in jobs
    ]
    for future in (*refer_all, *signal_all):
        future.result(timeout=60)
    assert [rows.external.get_job(job_id).result for job_id in jobs] == jobs
    assert count_kept(rows) == 0


def test_a_signal_that_is_rolled_back_leaves_nothing(rows: Rows) -> None:
    with rows.database.engine.connect().execution_options(
        isolation_level="SERIALIZABLE"
    ) as connection:
        rows.task.signal_succeeded(reference="r-1", using=connection)
        connection.rollback()
        assert count_kept(rows) == 0


def test_a_signal_in_a_callers_transaction_counts_after_its_commit(rows: Rows) -> None:
    job_id = rows.started()
    with rows.database.engine.connect().execution_options(
        isolation_level="SERIALIZABLE"
    ) as connection:
        rows.task.signal_succeeded(reference="r-1", result=1, using=connection)
        if rows.database.dialect_name == "postgresql":
            # On SQLite a second writer would wait.
            refer(rows, job_id, "r-1")
        connection.commit()
    if rows.database.dialect_name == "sqlite":
        refer(rows, job_id, "r-1")
    assert rows.external.get_job(job_id).result == 1
    assert count_kept(rows) == 0


def test_the_job_was_completed_before_its_reference_was_known(rows: Rows) -> None:
    job_id = rows.started()
    rows.external.cancel_job(job_id)
    rows.task.signal_succeeded(reference="r-1", result=1)
    refer(rows, job_id, "r-1")
    assert rows.external.get_job(job_id).reference == "r-1"
    assert rows.events(job_id) == ["cancelled", "refused"]
    assert count_kept(rows) == 0


# --- With a worker --------------------------------------------------------------------------------


def test_a_provider_is_faster_than_the_trigger(outside: System) -> None:
    result: Any = chain(outside.task("order").s("fast"), outside.task("pay").s()).apply_async()
    wait_for(lambda: "fast" in outside.lines("ordered"), what="the trigger to run")
    assert outside.task("order").signal_succeeded(reference="fast", result="p-fast") == KEPT
    outside.write("go-fast")
    job = outside.wait_settled(result.parent)
    assert (job.state, job.result, job.reference) == (states.SUCCESS, "p-fast", "fast")
    paid = outside.wait_parked(result)
    assert paid.reference == "p-fast"
    outside.task("pay").signal_failed(reference="p-fast", reason="no cover")
    with pytest.raises(ExternalJobFailed, match="no cover"):
        result.get(timeout=20)


def test_a_trigger_gives_out_links_to_its_attempt(outside: System) -> None:
    result = outside.task("order").delay("linked")
    outside.write("go-linked")
    job = outside.wait_parked(result)
    assert job.trigger_result.startswith("https://shop.example/external/jobs/")
    claims = verify([OUTSIDE_KEY], job.trigger_result.rpartition("/")[2])
    assert (claims.job_id, claims.attempt, claims.action) == (job.id, 1, "decide")
    outside.external.signal_succeeded(job)
    outside.wait_settled(job)
