"""Eager mode: the job parks, a signal goes on inline, and what cannot work is refused."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord

from celery_external import (
    EagerCanvasError,
    ExternalJobFailed,
    get_external,
    states,
)
from tests.systems import System


@pytest.fixture(params=["always", "apply"])
def run(request: pytest.FixtureRequest, eager: System) -> Any:
    """How an eager task is called: by ``task_always_eager`` or by ``.apply()``."""
    eager.app.conf.task_always_eager = request.param == "always"

    def call(sig: Any, **options: Any) -> Any:
        return sig.apply_async(**options) if request.param == "always" else sig.apply(**options)

    return call


@pytest.fixture
def eager(database_url: str, tmp_path: Path) -> Iterator[System]:
    """An app without a worker, and with a broker that nobody needs."""
    made = System(
        broker_url="memory://",
        result_url="cache+memory://",
        database_url=database_url,
        scratch=tmp_path,
    )
    yield made
    made.close()


def test_an_eager_job_parks(eager: System, run: Any) -> None:
    result = run(eager.task("ask").s("draft"), timeout=60, labels=["call"])
    assert (result.state, result.ready()) == (states.PARKED, False)
    job = eager.get(result)
    assert (job.state, job.labels, job.args) == (states.PARKED, ("plain", "call"), ["draft"])
    assert job.deadline is not None
    with pytest.raises(EagerCanvasError, match=f"Job {result.id} is parked, so"):
        result.get()


def test_a_signal_goes_on_inline(eager: System, run: Any) -> None:
    eager.app.conf.task_always_eager = True
    result = run(eager.task("ask").s(), link=eager.task("echo").s())
    receipt = get_external(eager.app).signal_succeeded(result, 42)
    assert (receipt.status, receipt.sent) == ("applied", True)
    assert eager.lines("echoes") == ["42"]
    job = eager.get(result)
    assert (job.state, job.settled, job.result) == (states.SUCCESS, True, 42)


def test_a_failure_calls_errbacks_inline(eager: System, run: Any) -> None:
    eager.app.conf.task_always_eager = True
    result = run(eager.task("ask").s(), link_error=eager.task("on_error").s())
    get_external(eager.app).signal_failed(result, "declined")
    assert eager.lines("errbacks") == [f"{result.id} ExternalJobFailed declined"]
    assert eager.get(result).settled


def test_an_eager_failure_is_retried_inline(eager: System, run: Any) -> None:
    result = run(eager.task("ask_again").s())
    external = get_external(eager.app)
    external.signal_failed(result, "flaky", attempt=1)
    job = eager.get(result)
    assert (job.state, job.attempt) == (states.PARKED, 2)
    external.signal_succeeded(result, "fine", attempt=2)
    assert eager.get(result).result == "fine"
    assert len(eager.lines("triggers")) == 2


def test_an_eager_trigger_that_knows_the_outcome_returns_it(eager: System, run: Any) -> None:
    assert run(eager.task("know").s("succeeded", 7)).get() == 7
    with pytest.raises(ExternalJobFailed, match=r"^broken$"):
        run(eager.task("know").s("failed", "broken")).get()


def test_an_eager_timeout_goes_on_inline(eager: System, run: Any) -> None:
    result = run(eager.task("ask_with_default").s())
    external = get_external(eager.app)
    eager.execute("UPDATE celery_external_job SET wake_at = created_at, deadline = created_at")
    assert external.sweep() == 1
    job = eager.get(result)
    assert (job.settled, job.result) == (True, {"answer": "none"})


def test_an_eager_chain_may_end_in_a_parked_job(eager: System) -> None:
    eager.app.conf.task_always_eager = True
    result = chain(eager.task("add").s(1, 1), eager.task("ask").s()).apply_async()
    assert (result.state, eager.get(result).args) == (states.PARKED, [2])


@pytest.mark.parametrize("canvas", ["chord", "chain"])
def test_eager_canvas_that_would_have_to_wait_is_refused(eager: System, canvas: str) -> None:
    eager.app.conf.task_always_eager = True
    add, ask, collect = (eager.task(name) for name in ("add", "ask", "collect"))
    made = chord([add.s(1, 1), ask.s()], collect.s()) if canvas == "chord" else ask.s() | add.s(1)
    with pytest.raises(EagerCanvasError, match="In eager mode Celery runs the steps"):
        made.apply_async()
    assert eager.lines("bodies") == []
