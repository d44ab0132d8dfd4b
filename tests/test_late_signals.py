"""Outcomes that came too late: the job's task is told, so that it can make up for them."""

from __future__ import annotations

import logging
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from celery_external import (
    ExternalTask,
    Failed,
    Job,
    JobAlreadyCompletedError,
    StaleAttemptError,
    get_external,
    late,
    payload,
    signals,
    states,
)
from celery_external.installation import installation_of
from celery_external.schema import kept_signal
from celery_external.store import kept
from tests.rows import NO_BROKER, Rows, ask
from tests.systems import System
from tests.waiting import wait_for

TASKS = ["pay", "pay_by_class"]


def refunds(system: System, job_id: str) -> list[str]:
    """What the hook was called with."""
    return [line.partition(" ")[2] for line in system.lines("refunds") if line.startswith(job_id)]


def wait_for_refund(system: System, job_id: str, *expected: str) -> None:
    wait_for(lambda: refunds(system, job_id) == list(expected), what=f"{expected} for {job_id}")
    database = installation_of(system.app).database
    wait_for(lambda: count_kept(database, job_id) == 0, what="the signal to be dropped")


def count_kept(database: Any, job_id: str) -> int:
    """How many signals wait to be told of."""
    query = (
        sa.select(sa.func.count())
        .select_from(kept_signal)
        .where(kept_signal.c.job_id == job_id, kept_signal.c.kind != kept.ENDED)
    )
    with database.engine.connect() as connection:
        found: int = connection.execute(query).scalar_one()
    return found


@pytest.mark.parametrize("task", TASKS)
def test_a_payment_after_the_timeout(outside: System, task: str) -> None:
    result = getattr(outside.module, task).apply_async((f"late-{task}",), timeout=0.1)
    job = outside.wait_settled(result)
    assert job.kind == states.TIMED_OUT
    with pytest.raises(JobAlreadyCompletedError):
        outside.external.signal_succeeded(job, {"paid": 5}, by="bank")
    wait_for_refund(outside, job.id, f"1 late-{task} timed_out Succeeded(result={{'paid': 5}})")
    assert [line.event for line in outside.get(job.id).history] == ["timed_out", "refused"]


def test_a_payment_for_an_attempt_that_is_over(outside: System) -> None:
    job = outside.wait_parked(outside.module.pay.delay("stale"))
    outside.external.rerun_job(job)
    outside.wait_attempt(job, 2)
    with pytest.raises(StaleAttemptError):
        outside.external.signal_failed(job, LookupError("no account"), attempt=1)
    wait_for_refund(outside, job.id, "1 stale None Failed(reason=LookupError('no account'))")
    outside.external.signal_succeeded(job)
    outside.wait_settled(job)


def test_by_a_reference_that_is_a_job_s_no_more(outside: System) -> None:
    job = outside.wait_parked(outside.module.pay.delay("called-off"))
    outside.external.cancel_job(job)
    with pytest.raises(JobAlreadyCompletedError):
        outside.module.pay.signal_succeeded(reference="called-off", result=1)
    wait_for_refund(outside, job.id, "1 called-off cancelled Succeeded(result=1)")
    outside.wait_settled(job)


def test_a_hook_that_raises_is_called_again(outside: System) -> None:
    job = outside.wait_parked(outside.module.pay.delay("again"))
    outside.external.signal_succeeded(job, 1)
    outside.write("fail-refund")
    with pytest.raises(JobAlreadyCompletedError):
        outside.external.signal_failed(job, "no")
    wait_for_refund(outside, job.id, *["1 again succeeded Failed(reason='no')"] * 2)
    outside.wait_settled(job)


@pytest.mark.parametrize("broker", ["the broker", "no broker"])
def test_said_where_the_task_is_not_known(outside: System, broker: str) -> None:
    """From a process without the task's code; without a broker the sweep sends it."""
    job = outside.wait_parked(outside.module.pay.delay(f"from {broker}"))
    outside.external.signal_succeeded(job, 1)
    outside.wait_settled(job)
    url = outside.env["BROKER_URL"] if broker == "the broker" else NO_BROKER
    with closing(Celery("web", broker=url, set_as_current=False)) as web:
        web.conf.external_database_url = outside.env["DATABASE_URL"]
        web.conf.external_resume_grace = 0.5
        with pytest.raises(JobAlreadyCompletedError):
            get_external(web).signal_failed(job.id, "no")
        wait_for_refund(outside, job.id, f"1 from {broker} succeeded Failed(reason='no')")
        installation_of(web).database.dispose()


# --- What is not told -----------------------------------------------------------------------------


def mind(rows: Rows) -> None:
    """Give the task a hook."""
    rows.task.late_signal(ask)


@pytest.mark.parametrize("is_minded", [True, False])
def test_only_where_the_task_minds(rows: Rows, is_minded: bool) -> None:  # noqa: FBT001
    if is_minded:
        mind(rows)
    job_id = rows.settled()
    with pytest.raises(JobAlreadyCompletedError):
        rows.external.signal_failed(job_id, "no")
    assert count_kept(rows.database, job_id) == is_minded


def test_what_is_no_outcome_or_counts(rows: Rows) -> None:
    mind(rows)
    job_id = rows.settled()
    said = rows.external
    assert said.signal_succeeded(job_id, 1).status == "duplicate"
    for refused in (
        lambda: said.cancel_job(job_id),
        lambda: said.signal_progress(job_id, 1),
        lambda: said.extend_job(job_id, timeout=5),
        lambda: said.signal_succeeded(job_id, continue_with=rows.task.s()),
    ):
        with pytest.raises(JobAlreadyCompletedError):
            refused()
    assert count_kept(rows.database, job_id) == 0


def test_a_transaction_that_is_rolled_back_leaves_nothing(rows: Rows) -> None:
    mind(rows)
    job_id = rows.settled()
    heard: list[object] = []

    def hear(job: object, **_kwargs: object) -> None:
        heard.append(job)

    signals.signal_refused.connect(hear, sender=rows.app)
    with rows.database.engine.connect().execution_options(
        isolation_level="SERIALIZABLE"
    ) as connection:
        with pytest.raises(JobAlreadyCompletedError):
            rows.external.signal_failed(job_id, "no", using=connection)
        connection.rollback()
    assert count_kept(rows.database, job_id) == 0
    assert rows.events(job_id) == ["succeeded"]
    assert heard == []


def test_of_a_job_that_is_gone(rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    signal = {"task": rows.task.name, "job_id": "gone", "attempt": 1, **rows.outcome()}
    with rows.database.alone() as tx:
        kept.keep(tx, rows.namespace, signal, wake_in=-1)
    with caplog.at_level(logging.WARNING, "celery_external"):
        rows.external.sweep()
    assert caplog.messages == ["Job gone is gone, and a late signal with it"]
    assert count_kept(rows.database, "gone") == 0


def test_a_worker_that_does_not_know_the_task(rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    job_id = rows.settled()
    said = payload.encode_outcome(rows.app, Failed("no"))
    with rows.database.alone() as tx:
        row = {**rows.get(job_id), "task": "gone.away"}
        number = late.keep(rows.installation, tx, row, 1, said, by=None)
    assert number is not None
    late.tell(rows.installation, number, 0)
    message = caplog.messages[-1]
    assert message == (
        f"Job {job_id}: a late signal for gone.away cannot be told: this worker does not know "
        "the task"
    )
    assert count_kept(rows.database, job_id) == 1


def test_a_message_that_is_there_twice_counts_once(rows: Rows) -> None:
    told: list[int] = []

    @rows.task.late_signal  # type: ignore[untyped-decorator]
    def raise_it(job: Job, outcome: object) -> None:  # noqa: ARG001
        told.append(job.attempt)
        raise LookupError

    job_id = rows.settled()
    with rows.database.alone() as tx:
        said = payload.encode_outcome(rows.app, Failed("no"))
        number = late.keep(rows.installation, tx, rows.get(job_id), 1, said, by=None)
    assert number is not None
    for _ in range(3):
        late.tell(rows.installation, number, 0)
    assert told == [1]
    late.tell(rows.installation, number, 1)
    assert told == [1, 1]


def test_where_another_task_says_what_its_results_are(rows: Rows) -> None:
    make: Any = rows.app.task(
        base=ExternalTask, name="rows.typed", shared=False, lazy=False, result_type=int
    )
    make(ask)
    mind(rows)
    job_id = rows.started()
    assert rows.begin_next_attempt(rows.get(job_id), states.RETRY)
    with pytest.raises(StaleAttemptError):
        rows.external.signal_succeeded(job_id, 1, attempt=1)
    assert count_kept(rows.database, job_id) == 1


def test_the_attempt_s_own_task_is_told(rows: Rows) -> None:
    """It was replaced by a step of another task, which does not mind."""
    mind(rows)
    job_id = rows.started()
    assert rows.begin_next_attempt(rows.get(job_id))
    rows.write(job_id, task="another.task")
    with pytest.raises(StaleAttemptError):
        rows.external.signal_succeeded(job_id, 1, attempt=1)
    with rows.database.engine.connect() as connection:
        row = connection.execute(sa.select(kept_signal)).mappings().one()
    assert (row["task"], row["attempt"]) == (rows.task.name, 1)
