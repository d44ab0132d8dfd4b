"""The broker or the result backend goes away at the worst moment, and nothing is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group
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
    "result_backend_transport_options": {
        "retry_policy": {"max_retries": 1, "interval_start": 0, "interval_max": 0.1}
    },
}


@pytest.fixture
def server() -> Iterator[Valkey]:
    """A Valkey of this test's own, to be stopped and started."""
    with closing(Valkey()) as made:
        made.start()
        yield made


@pytest.fixture
def fragile(server: Valkey, result_url: str, postgres_url: str, tmp_path: Path) -> Iterator[System]:
    """A system whose broker may go away, and whose result backend stays."""
    made = System(
        broker_url=server.fresh_database(),
        result_url=result_url,
        database_url=postgres_url,
        scratch=tmp_path,
        conf=CONF,
    )
    with closing(made):
        yield made


@pytest.fixture
def forgetful(server: Valkey, broker_url: str, sqlite_url: str, tmp_path: Path) -> Iterator[System]:
    """A system whose result backend may go away, and whose broker stays."""
    made = System(
        broker_url=broker_url,
        result_url=server.fresh_database(),
        database_url=sqlite_url,
        scratch=tmp_path,
        conf=CONF,
    )
    with closing(made):
        yield made


def test_a_signal_is_applied_while_the_broker_is_away_and_goes_on_later(
    fragile: System, server: Valkey
) -> None:
    result: Any = chain(fragile.task("ask").s(), fragile.task("add").s(1)).apply_async()
    with fragile.worker():
        job = fragile.wait_parked(result.parent)
        server.stop()
        receipt = fragile.external.signal_succeeded(job, 1)
        assert (receipt.status, receipt.sent) == ("applied", False)
        owed = fragile.get(job)
        assert (owed.state, owed.settled) == (states.SUCCESS, False)
        server.start()
        assert result.get(timeout=60) == 2
        fragile.wait_settled(job)


def test_the_next_steps_publish_fails_and_the_outcome_stays_owed(
    fragile: System, server: Valkey
) -> None:
    step = fragile.task("ask_with_hook").s("hold").on_error(fragile.task("on_error").s())
    result: Any = chain(step, fragile.task("echo").s()).apply_async()
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("holding"), what="the resume to be under way")
        server.stop()
        fragile.write("go-hold")
        worker.wait_for_log("Celery could not be told how job")
        job = fragile.get(result.parent)
        assert (job.state, job.settled, job.result) == (states.SUCCESS, False, "hold")
        seen: Any = fragile.app.AsyncResult(job.id)
        assert seen.state == "PARKED"
        server.start()
        assert result.get(timeout=60) == "hold"
        fragile.wait_settled(job)
    assert fragile.lines("errbacks") == []
    assert fragile.lines("echoes") == ['"hold"']
    assert fragile.lines("holding") == ["hold"]


def test_a_chords_body_waits_for_the_broker(fragile: System, server: Valkey) -> None:
    last, body = fragile.task("ask_with_hook").s("hold"), fragile.task("collect").s()
    result: Any = chord([fragile.task("echo").s("first"), last])(
        body.on_error(fragile.task("on_error").s())
    )
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("holding"), what="the resume to be under way")
        server.stop()
        fragile.write("go-hold")
        worker.wait_for_log("waits for the broker")
        assert not result.ready()
        server.start()
        assert result.get(timeout=60) == ["first", "hold"]
        fragile.wait_settled(result.parent.results[1])
    assert fragile.lines("bodies") == ['["first", "hold"]']
    assert fragile.lines("errbacks") == []


def test_a_chord_that_goes_on_with_a_group_waits_for_the_broker(
    fragile: System, server: Valkey
) -> None:
    echo = fragile.task("echo")
    header = [echo.s("first"), fragile.task("ask_with_hook").s("hold")]
    result: Any = chord(header)(group(echo.s(), echo.s()))
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("holding"), what="the resume to be under way")
        server.stop()
        fragile.write("go-hold")
        worker.wait_for_log("waits for the broker")
        server.start()
        assert result.get(timeout=60) == [["first", "hold"]] * 2


def test_an_errback_waits_for_the_broker(fragile: System, server: Valkey) -> None:
    step = fragile.task("ask_with_hook").s("hold-fail")
    result = step.on_error(fragile.task("note_failure").s()).delay()
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("holding"), what="the resume to be under way")
        server.stop()
        fragile.write("go-hold-fail")
        worker.wait_for_log("waits for the broker")
        assert not fragile.get(result).settled
        server.start()
        wait_for(lambda: fragile.lines("failures"), what="the errback to run")
        fragile.wait_settled(result)
    assert fragile.lines("failures") == [result.id]
    assert result.state == states.FAILURE


def test_a_worker_killed_while_it_waits_for_the_broker_leaves_the_outcome_owed(
    fragile: System, server: Valkey
) -> None:
    result: Any = chord([fragile.task("ask_with_hook").s("hold")])(fragile.task("collect").s())
    with fragile.worker() as worker:
        wait_for(lambda: fragile.lines("holding"), what="the resume to be under way")
        server.stop()
        fragile.write("go-hold")
        worker.wait_for_log("waits for the broker")
        worker.kill()
    (member,) = result.parent.results
    assert not fragile.get(member).settled
    server.start()
    with fragile.worker():
        assert result.get(timeout=60) == ["hold"]
        fragile.wait_settled(member)
    assert fragile.lines("bodies") == ['["hold"]']


def test_a_job_whose_message_the_broker_refuses_is_no_job(fragile: System, server: Valkey) -> None:
    server.stop()
    with pytest.raises(OperationalError):
        fragile.task("ask").apply_async(task_id="refused")
    with pytest.raises(JobNotFoundError):
        fragile.get("refused")


def test_a_retry_that_cannot_be_published_is_sent_by_the_sweep(
    fragile: System, server: Valkey
) -> None:
    result = fragile.task("retry_when_told").delay("later")
    with fragile.worker():
        wait_for(lambda: fragile.lines("started"), what="the trigger to run")
        server.stop()
        fragile.write("go-later")
        job = fragile.wait_job(result, lambda found: found.attempt == 2, "to be retried")
        assert job.state == states.RETRY
        server.start()
        fragile.wait_attempt(result, 2)


@pytest.mark.parametrize(
    ("answer", "state"), [("hold", states.SUCCESS), ("hold-fail", states.FAILURE)]
)
def test_the_result_backend_is_away_when_it_is_told(
    forgetful: System, server: Valkey, answer: str, state: str
) -> None:
    step = forgetful.task("ask_with_hook").s(answer)
    result = step.on_error(forgetful.task("note_failure").s()).delay()
    with forgetful.worker() as worker:
        wait_for(lambda: forgetful.lines("holding"), what="the resume to be under way")
        server.stop()
        forgetful.write(f"go-{answer}")
        worker.wait_for_log("Celery could not be told how job")
        job = forgetful.get(result)
        assert (job.state, job.settled) == (state, False)
        assert forgetful.lines("failures") == []
        server.start()
        forgetful.wait_settled(result)
        seen: Any = forgetful.app.AsyncResult(result.id)
        assert seen.state == state
        wait_for(
            lambda: len(forgetful.lines("failures")) == (state == states.FAILURE),
            what="the errback, once",
        )
