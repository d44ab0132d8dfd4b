"""Two apps with brokers of their own on one database: neither touches the other's jobs."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

from celery_external import JobNotFoundError, states
from tests.servers import Valkey
from tests.systems import System
from tests.waiting import wait_for


@pytest.fixture
def two(valkey: Valkey, database_url: str, tmp_path: Path) -> Iterator[tuple[System, System]]:
    """Two systems with a running worker each."""
    with ExitStack() as running:
        made = []
        for name in ("one", "other"):
            scratch = tmp_path / name
            scratch.mkdir()
            system = System(
                broker_url=valkey.fresh_database(),
                result_url=valkey.fresh_database(),
                database_url=database_url,
                scratch=scratch,
                conf={"external_namespace": name},
            )
            made.append(running.enter_context(closing(system)))
            running.enter_context(system.worker())
        yield made[0], made[1]


def test_two_apps_do_not_touch_each_others_jobs(two: tuple[System, System]) -> None:
    one, other = two
    for system in two:
        system.task("ask").apply_async((system.scratch.name,), task_id="the same", labels=["both"])
    for system in two:
        job = system.wait_parked("the same")
        assert (job.namespace, job.args) == (system.scratch.name, [system.scratch.name])

    assert one.external.signal_succeeded("the same", "one's").sent
    assert one.wait_settled("the same").result == "one's"
    assert one.app.AsyncResult("the same").get(timeout=20) == "one's"
    assert other.get("the same").state == states.PARKED
    assert other.get("the same").history == ()

    assert [job.state for job in one.external.find_jobs(labels=["both"])] == [states.SUCCESS]
    assert [job.state for job in other.external.find_jobs(labels=["both"])] == [states.PARKED]
    assert not one.external.find_jobs(state=states.PARKED)

    other.external.cancel_job("the same")
    assert other.wait_settled("the same").state == states.REVOKED
    assert one.get("the same").state == states.SUCCESS
    assert (one.lines("triggers"), other.lines("triggers")) == (["the same"], ["the same"])


def test_a_sweep_and_a_signal_leave_the_other_apps_jobs_alone(two: tuple[System, System]) -> None:
    one, other = two
    late = other.wait_parked(other.task("ask").apply_async(timeout=3600))
    owed = other.wait_parked(other.task("ask").delay())
    other.execute(
        "UPDATE celery_external_job SET wake_at = :late, deadline = :late WHERE wake_at > :late",
        late="2020-01-01 00:00:00.000000",
    )

    assert one.external.sweep() == 0
    for call in (one.external.signal_succeeded, one.external.cancel_job, one.external.get_job):
        with pytest.raises(JobNotFoundError, match="in namespace 'one'"):
            call(owed.id)
    (receipt,) = one.external.signal_many([(owed.id, one.module.Succeeded(1))])
    assert isinstance(receipt.error, JobNotFoundError)
    assert (other.get(late).state, other.get(owed).state) == (states.PARKED, states.PARKED)
    assert other.get(owed).history == ()

    assert other.external.sweep() == 1
    assert other.wait_settled(late).kind == "timed_out"
    other.external.signal_succeeded(owed, 1)
    other.wait_settled(owed)
    wait_for(lambda: one.queue_length() == 0, what="no message to be in the other broker")
    assert one.lines("triggers") == []
