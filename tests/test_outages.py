"""The broker goes away at the worst moment: Celery is told nothing that the row does not say."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from celery import chain
from kombu.exceptions import OperationalError

from celery_external import JobNotFoundError, states
from tests.servers import Valkey
from tests.systems import System
from tests.waiting import wait_for

CONF = {
    "external_sweep_in_worker": True,
    "external_sweep_interval": 0.2,
    "external_resume_grace": 1,
    "task_publish_retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.1},
    "broker_connection_timeout": 1,
}


@pytest.fixture
def broker() -> Iterator[Valkey]:
    """A broker of this test's own, to be stopped and started."""
    with closing(Valkey()) as server:
        server.start()
        yield server


@pytest.fixture
def fragile(broker: Valkey, result_url: str, database_url: str, tmp_path: Path) -> Iterator[System]:
    """A system whose broker may go away, and whose result backend stays."""
    made = System(
        broker_url=broker.fresh_database(),
        result_url=result_url,
        database_url=database_url,
        scratch=tmp_path,
        conf=CONF,
    )
    with closing(made):
        yield made


def test_a_signal_is_applied_while_the_broker_is_away_and_goes_on_later(
    fragile: System, broker: Valkey
) -> None:
    result: Any = chain(fragile.task("ask").s(), fragile.task("add").s(1)).apply_async()
    with fragile.worker():
        job = fragile.wait_parked(result.parent)
        broker.stop()
        receipt = fragile.external.signal_succeeded(job, 1)
        assert (receipt.status, receipt.sent) == ("applied", False)
        owed = fragile.get(job)
        assert (owed.state, owed.settled) == (states.SUCCESS, False)
        broker.start()
        assert result.get(timeout=60) == 2
        fragile.wait_settled(job)


def test_the_next_steps_publish_fails_and_the_outcome_stays_owed(
    fragile: System, broker: Valkey
) -> None:
    step = fragile.task("ask_with_hook").s("hold").on_error(fragile.task("on_error").s())
    result: Any = chain(step, fragile.task("echo").s()).apply_async()
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("holding"), what="the resume to be under way")
        broker.stop()
        fragile.write("go-hold")
        worker.wait_for_log("Celery could not be told how job")
        job = fragile.get(result.parent)
        assert (job.state, job.settled, job.result) == (states.SUCCESS, False, "hold")
        seen: Any = fragile.app.AsyncResult(job.id)
        assert seen.state == "PARKED"
        broker.start()
        assert result.get(timeout=60) == "hold"
        fragile.wait_settled(job)
    assert fragile.lines("errbacks") == []
    assert fragile.lines("echoes") == ['"hold"']
    assert fragile.lines("holding") == ["hold"]


def test_a_job_whose_message_the_broker_refuses_is_no_job(fragile: System, broker: Valkey) -> None:
    broker.stop()
    with pytest.raises(OperationalError):
        fragile.task("ask").apply_async(task_id="refused")
    with pytest.raises(JobNotFoundError):
        fragile.get("refused")


def test_a_retry_that_cannot_be_published_is_sent_by_the_sweep(
    fragile: System, broker: Valkey
) -> None:
    result = fragile.task("retry_when_told").delay("later")
    with fragile.worker():
        wait_for(lambda: fragile.lines("started"), what="the trigger to run")
        broker.stop()
        fragile.write("go-later")
        job = fragile.wait_job(result, lambda found: found.attempt == 2, "to be retried")
        assert job.state == states.RETRY
        broker.start()
        fragile.wait_attempt(result, 2)
