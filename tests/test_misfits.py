"""Rows whose message no longer fits: told of, kept, repeated slowly, and in nobody's way."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa

from celery_external import JobAlreadyCompletedError, Receipt, states
from celery_external.schema import job
from tests.events import GRACE
from tests.rows import In, Rows
from tests.systems import System
from tests.waiting import wait_for

#: What has become of a row's message.
DAMAGES: dict[str, str] = {
    "cut off": '{"headers": {"id"',
    "empty": "",
    "another JSON": "[]",
    "without its parts": "{}",
    "a route of another kind": '{"type": "x;y", "headers": {}, "properties": {}, "exchange": 5}',
}


@pytest.mark.parametrize("damage", DAMAGES)
@pytest.mark.parametrize("state", ["pending", "owed"])
def test_a_damaged_message_does_not_keep_the_others_from_being_sent(
    rows: Rows, state: str, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = getattr(rows, state)()
    good = rows.copy(bad, 20)
    rows.write(bad, envelope=DAMAGES[damage])
    first_wait = rows.get(bad)["wake_at"]
    rows.move_all(wake_at=-1)
    rows.move(bad, wake_at=-9)

    assert rows.external.sweep() == 21

    assert sorted(rows.sent()) == sorted((job_id, 1) for job_id in good)
    row = rows.get(bad)
    assert (row["sends"], row["wake_at"] > first_wait) == (1, True)
    assert any(bad in record.getMessage() for record in errors(caplog))
    assert rows.external.get_job(bad).state == row["state"]
    assert bad in {job.id for job in rows.external.find_jobs(order="-created", limit=100)}
    assert rows.external.sweep() == 0


def errors(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    return [record for record in caplog.records if record.levelno >= logging.ERROR]


def test_a_damaged_message_is_repeated_ever_more_slowly(rows: Rows) -> None:
    job_id = rows.owed()
    rows.write(job_id, envelope="{")
    for sends, wait in enumerate([4 * GRACE, 16 * GRACE, 64 * GRACE], start=1):
        rows.move(job_id, wake_at=-1)
        assert rows.external.sweep() == 1
        row = rows.get(job_id)
        assert (row["sends"], row["wake_at"]) == (sends, In(wait))


def test_a_job_with_a_damaged_message_can_be_completed(rows: Rows) -> None:
    job_id = rows.parked()
    rows.write(job_id, envelope="{")
    receipt = rows.external.signal_succeeded(job_id, 1)
    assert receipt == Receipt(job_id, attempt=1, status="applied", sent=False)
    assert rows.external.get_job(job_id).result == 1


def test_an_outcome_that_this_app_may_not_read_is_another_one(
    rows: Rows, database_url: str
) -> None:
    job_id = rows.parked()
    options: dict[str, Any] = {"result_serializer": "pickle", "accept_content": ["json", "pickle"]}
    with closing(Rows(database_url, **options)) as other:
        other.external.signal_succeeded(job_id, {1, 2})
        assert other.external.signal_succeeded(job_id, {1, 2}).status == "duplicate"

    with pytest.raises(JobAlreadyCompletedError) as caught:
        rows.external.signal_succeeded(job_id, [1, 2])

    assert (caught.value.job.kind, caught.value.job.result) == ("succeeded", None)


# --- On a worker ----------------------------------------------------------------------------------


def write(system: System, job_id: str, **columns: Any) -> None:
    """Set columns of the row."""
    engine = sa.create_engine(system.env["DATABASE_URL"])
    with engine.begin() as connection:
        connection.execute(sa.update(job).where(job.c.id == job_id).values(**columns))
    engine.dispose()


def columns_of(system: System, job_id: str) -> Any:
    """The row."""
    engine = sa.create_engine(system.env["DATABASE_URL"])
    with engine.connect() as connection:
        found = connection.execute(sa.select(job).where(job.c.id == job_id)).mappings().one()
    engine.dispose()
    return found


def rename(text: str) -> str:
    """The message of a task whose name no worker knows."""
    return text.replace('"tests.apps.core.ask"', '"tests.apps.core.gone"')


def lose_serializer(text: str) -> str:
    """The message of a serializer that is no longer installed."""
    return text.replace("application/json", "application/x-gone")


def test_what_a_worker_cannot_take_stays_owed_and_goes_on_once_it_fits(
    make_system: Callable[..., System],
) -> None:
    system = make_system(external_resume_grace=1000.0)
    names = ("renamed", "serializer", "kind", "result", "good")
    with system.worker() as worker:
        results = {name: system.task("ask").delay() for name in names}
        ids = {name: system.wait_parked(result).id for name, result in results.items()}
        whole = {name: columns_of(system, job_id)["envelope"] for name, job_id in ids.items()}
        write(system, ids["renamed"], envelope=rename(whole["renamed"]))
        write(system, ids["serializer"], envelope=lose_serializer(whole["serializer"]))
        for job_id in ids.values():
            system.external.signal_succeeded(job_id, 1)
        system.wait_settled(ids["good"])
        outcome = {"kind": "approved", "outcome_type": "application/json;utf-8"}
        unreadable = {"outcome_type": "application/x-gone;utf-8"}
        for name, changed in (("kind", outcome), ("result", unreadable)):
            system.wait_settled(ids[name])
            write(system, ids[name], **changed)
        bad = [ids[name] for name in names if name != "good"]
        late = "2020-01-01 00:00:00.000000"
        for sends in (1, 2):
            # The good one is owed once more, behind the bad ones.
            system.execute("UPDATE celery_external_job SET wake_at = :late", late=late)
            assert system.external.sweep() == 5
            wait_for(lambda: system.get(ids["good"]).settled, what="the good one to be served")
            wait_for(lambda: system.queue_length() == 0, what="the worker to take them all")
            system.task("echo").delay("behind them").get(timeout=20)
            for job_id in bad:
                kept = columns_of(system, job_id)
                assert (kept["sends"], kept["state"]) == (sends, states.SUCCESS)
                assert kept["wake_at"] is not None
        for words in (
            "Received unregistered task of type 'tests.apps.core.gone'",
            "x-gone",
            f"Job {ids['kind']}: this version knows no outcome 'approved'",
            f"The outcome of job {ids['result']} cannot be read here",
        ):
            assert words in worker.log()
        for name, job_id in ids.items():
            write(
                system,
                job_id,
                envelope=whole[name],
                kind="succeeded",
                outcome_type="application/json;utf-8",
            )
        system.execute("UPDATE celery_external_job SET wake_at = :late", late=late)
        assert system.external.sweep() == 5
        for job_id in bad:
            assert system.wait_settled(job_id).result == 1
