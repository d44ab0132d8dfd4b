"""Who keeps a signal, claims it for its reference, or tells a task of a late one, is killed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
import sqlalchemy as sa
from celery import chain

from celery_external import JobAlreadyCompletedError, states
from celery_external.installation import installation_of
from celery_external.schema import kept_signal
from tests.kills.life import GRACE, SWEEPING, kill_now, row_of, with_conf
from tests.kills.stops import LockStop
from tests.processes import Worker
from tests.systems import System
from tests.waiting import wait_for

APP = "tests.apps.outside"
LOCK = "LOCK TABLE celery_external_kept_signal IN EXCLUSIVE MODE"


@pytest.fixture
def outside_own(make_shared_system: Callable[..., System]) -> Iterator[System]:
    """The app of ``tests.apps.outside`` on PostgreSQL, without a worker."""
    made = make_shared_system("PostgreSQL", conf=GRACE, tasks=APP)
    with closing(made):
        yield made


def count_kept(system: System) -> int:
    query = sa.select(sa.func.count()).select_from(kept_signal)
    database: Any = installation_of(system.app).database
    with database.engine.connect() as connection:
        found: int = connection.execute(query).scalar_one()
    return found


def sweeping_worker(system: System) -> Worker:
    """A worker that comes after the one that was killed."""
    return Worker(APP, env=with_conf(system, **GRACE, **SWEEPING), concurrency=2)


def test_a_trigger_is_killed_between_its_reference_and_what_was_said_of_it(
    outside_own: System,
) -> None:
    system = outside_own
    steps = (system.module.order.s("r-1"), system.module.pay.s())
    result: Any = chain(*steps).apply_async()
    with Worker(APP, env=with_conf(system, **GRACE)) as worker:
        wait_for(lambda: "r-1" in system.lines("ordered"), what="the trigger to run")
        assert system.module.order.signal_succeeded(reference="r-1", result="p").status == "kept"
        stop = LockStop(system, LOCK)
        system.write("go-r-1")
        stop.wait()
        row = row_of(system, result.parent.id)
        assert (row["state"], row["reference"], row["kind"]) == (states.STARTED, "r-1", None)
        kill_now(worker)
        stop.clear()
    assert (row_of(system, result.parent.id)["kind"], count_kept(system)) == (None, 1)
    with sweeping_worker(system):
        job = system.wait_settled(result.parent)
        assert (job.state, job.result) == (states.SUCCESS, "p")
        assert system.wait_parked(result).reference == "p"
        assert [entry.event for entry in system.get(job.id).history] == ["succeeded"]
    assert count_kept(system) == 0
    assert system.lines("ordered") == ["r-1"]


def test_a_worker_is_killed_as_it_tells_of_a_late_signal(outside_own: System) -> None:
    system = outside_own
    with Worker(APP, env=with_conf(system, **GRACE)) as worker:
        job = system.wait_parked(system.module.pay.delay("r-1"))
        system.external.signal_succeeded(job, 1)
        system.wait_settled(job)
        system.write("hang-refund")
        with pytest.raises(JobAlreadyCompletedError):
            system.external.signal_failed(job, "no")
        wait_for(lambda: len(system.lines("refunds")) == 1, what="the hook to be called")
        kill_now(worker)
    (system.scratch / "hang-refund").unlink()
    assert count_kept(system) == 1
    with sweeping_worker(system):
        wait_for(lambda: count_kept(system) == 0, what="the signal to be told of")
    said = f"{job.id} 1 r-1 succeeded Failed(reason='no')"
    assert system.lines("refunds") == [said, said]
