"""``lock_job``: look, then decide, while nobody else can."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, suppress
from typing import Any

import pytest
import sqlalchemy as sa
from celery import chain, group
from sqlalchemy.orm import Session

from celery_external import (
    AmbiguousJobError,
    External,
    JobAlreadyCompletedError,
    JobNotFoundError,
    LockedJob,
    OptionError,
    states,
)
from tests.rows import Rows
from tests.systems import System
from tests.test_states_races import Waiters, wait_until_locked
from tests.waiting import wait_for


def lock(external: External, *args: Any, **options: Any) -> Any:
    """With a handle for sure: who locks by id always gets one."""
    return external.lock_job(*args, **options)


def test_look_and_decide(idle_system: System) -> None:
    job = idle_system.task("ask").apply_async((1,), {"b": 2}, meta={"text": "draft"})
    with lock(idle_system.external, job) as locked:
        assert isinstance(locked, LockedJob)
        assert (locked.id, locked.task) == (job.id, "tests.apps.core.ask")
        assert (locked.args, locked.kwargs) == ([1], {"b": 2})
        assert (locked.meta, locked.state) == ({"text": "draft"}, states.PENDING)
        receipt = locked.succeed("yes", by="alice", reason="looks good")
        assert (receipt.status, receipt.sent) == ("applied", False)
    done = idle_system.get(job)
    assert (done.result, done.completed_by) == ("yes", "alice")
    assert idle_system.queue_length() == 2
    with lock(idle_system.external, job) as locked, pytest.raises(JobAlreadyCompletedError):
        locked.fail("too late")


def test_leaving_without_a_word_and_by_an_error(idle_system: System) -> None:
    job = idle_system.task("ask").delay()
    with lock(idle_system.external, job):
        pass
    with suppress(ZeroDivisionError), lock(idle_system.external, job) as locked:
        locked.fail("no")
        raise ZeroDivisionError
    untouched = idle_system.get(job)
    assert (untouched.state, untouched.history) == (states.PENDING, ())
    assert idle_system.queue_length() == 1


def test_by_canvas(idle_system: System) -> None:
    external, ask = idle_system.external, idle_system.task("ask")
    result: Any = chain(ask.s(), idle_system.task("echo").s()).apply_async()
    root_id = result.parent.id
    with external.lock_job(root_id=root_id) as locked:
        assert locked is not None
        assert locked.id == root_id
    with external.lock_job(root_id=root_id, task=ask.name) as locked:
        assert locked is not None
    with external.lock_job(root_id=root_id, task="another") as locked:
        assert locked is None
    external.signal_succeeded(root_id, 1)
    with external.lock_job(root_id=root_id) as locked:
        assert locked is None


def test_several_open_jobs_are_named(idle_system: System) -> None:
    ask, slow = idle_system.task("ask"), idle_system.task("ask_slowly")
    members: Any = group(ask.s(), ask.s(), slow.s("x")).apply_async(root_id="the-root")
    several = idle_system.external.lock_job(root_id="the-root")
    with pytest.raises(AmbiguousJobError, match="3 open jobs") as caught, several:
        pass
    assert {job.id for job in caught.value.jobs} == {member.id for member in members.results}
    with idle_system.external.lock_job(root_id="the-root", task=slow.name) as locked:
        assert locked is not None
        assert locked.id == members.results[2].id


def test_what_cannot_be_locked(idle_system: System) -> None:
    external = idle_system.external
    with pytest.raises(JobNotFoundError), external.lock_job("nobody"):
        pass
    for wrong in ({}, {"job": "x", "root_id": "y"}, {"job": "x", "task": "y"}):
        with pytest.raises(OptionError), external.lock_job(**wrong):
            pass


def test_a_step_and_its_successor_in_one_transaction(system: System) -> None:
    ask, echo = system.task("ask"), system.task("echo")
    result: Any = chain(ask.s("first"), echo.s()).apply_async()
    job = system.wait_parked(result.parent)
    with lock(system.external, job) as first:
        first.succeed(continue_with=ask.s("second"), by="alice")
        with lock(system.external, root_id=job.id, using=first.transaction) as second:
            assert (second.id, second.args, second.job.attempt) == (job.id, ["second"], 2)
            second.succeed("both at once", by="bob")
    assert result.get(timeout=30) == "both at once"
    done = system.wait_settled(job)
    assert [(entry.event, entry.by) for entry in done.history] == [
        ("continued", "alice"),
        ("continued", None),
        ("succeeded", "bob"),
    ]
    assert system.lines("triggers").count(job.id) == 1


def test_a_step_and_its_successor_in_the_callers_transaction(idle_system: System) -> None:
    ask = idle_system.task("ask")
    job = ask.delay("first")
    engine = sa.create_engine(idle_system.env["DATABASE_URL"])
    for is_kept in (False, True):
        with Session(engine) as session:
            with lock(idle_system.external, job, using=session) as first:
                first.succeed(continue_with=chain(ask.s("second"), ask.s()))
            with lock(idle_system.external, root_id=job.id, using=session) as second:
                assert second.args == ["second"]
                second.fail("declined")
            assert idle_system.get(job).history == ()
            if is_kept:
                session.commit()
    engine.dispose()
    assert [found.kind for found in idle_system.find_all(order="created")] == [
        "continued",
        "failed",
    ]
    assert idle_system.get(job).settled
    assert idle_system.queue_length() == 3


# --- Nobody overtakes -----------------------------------------------------------------------------


def test_another_completer_waits(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = rows.parked()
    waiters = Waiters(rows)
    with lock(rows.external, job_id) as locked:
        other = pool.submit(rows.external.signal_failed, job_id, "declined")
        waiters.wait_for(1)
        locked.succeed("approved")
        assert not other.done()
    assert isinstance(other.exception(timeout=30), JobAlreadyCompletedError)
    assert rows.external.get_job(job_id).result == "approved"


def test_another_lock_waits(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = rows.parked()
    waiters = Waiters(rows)

    def look() -> str | None:
        with lock(rows.external, job_id) as locked:
            return str(locked.state)

    with lock(rows.external, job_id) as locked:
        other = pool.submit(look)
        waiters.wait_for(1)
        locked.succeed("approved")
    assert other.result(timeout=30) == states.SUCCESS


def test_the_sweep_passes_over_it_or_waits(rows: Rows, pool: ThreadPoolExecutor) -> None:
    job_id = rows.parked(timeout=100)
    rows.move(job_id, wake_at=-1, deadline=-1)
    on_sqlite = rows.database.dialect_name == "sqlite"
    waiters = Waiters(rows)
    with lock(rows.external, job_id) as locked:
        swept = pool.submit(rows.external.sweep)
        if on_sqlite:
            waiters.wait_for(1)
        else:
            assert swept.result(timeout=30) == 0
        locked.succeed("just in time")
    assert swept.result(timeout=30) == 0
    assert rows.external.get_job(job_id).result == "just in time"


def test_a_worker_waits_with_the_park(idle_system: System) -> None:
    system = idle_system
    job = system.task("ask_slowly").delay("locked")
    with system.worker():
        wait_for(lambda: system.lines("started"), what="the trigger to run")
        with lock(system.external, job) as locked:
            system.write("go-locked")
            # The result backend is told first, then the park waits for the row.
            wait_for(lambda: job.state == states.PARKED, what="the trigger to end")
            assert locked.state == states.STARTED
            locked.succeed("while it parked")
        assert job.get(timeout=30) == "while it parked"
        system.wait_settled(job)
    assert system.get(job).parked_at is None


def test_a_worker_waits_with_the_resume(idle_system: System) -> None:
    system = idle_system
    job = system.task("ask").delay()
    system.external.signal_succeeded(job, "an answer")
    url = sa.make_url(system.env["DATABASE_URL"])
    with ExitStack() as stack:
        with lock(system.external, job) as locked:
            assert (locked.state, locked.job.settled) == (states.SUCCESS, False)
            worker = stack.enter_context(system.worker())
            worker.wait_for_log(f"[{job.id}] received")
            if url.get_backend_name() == "postgresql":
                wait_until_locked(url, 1)
            assert job.state == states.PENDING
        assert job.get(timeout=30) == "an answer"
        system.wait_settled(job)
