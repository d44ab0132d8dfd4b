"""A signal against what the job's own worker is doing at that moment."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import pytest

from celery_external import JobAlreadyCompletedError, StaleAttemptError
from tests.ends.scene import Act, succeeded
from tests.races.crowd import Crowd
from tests.waiting import wait_for


def backend_state(act: Act) -> str:
    """What the result backend says."""
    seen: Any = act.scene.system.app.AsyncResult(act.id)
    state: str = seen.state
    return state


def events(act: Act) -> list[str]:
    """What the history is about."""
    return [entry.event for entry in act.job.history]


def test_while_pending(crowd: Crowd) -> None:
    queue = uuid4().hex
    act = crowd.start(queue=queue)
    receipt = crowd.system.external.signal_succeeded(act.id, "signalled")
    assert (receipt.status, receipt.early) == ("applied", True)
    crowd.read_queue(queue)  # the trigger's message and the resume, at once
    assert act.ended() == succeeded()
    assert act.count("triggers") == 0


def test_while_started(crowd: Crowd) -> None:
    act = crowd.start(plan={"trigger": "hold"})
    act.wait_held("trigger")
    receipt = crowd.system.external.signal_succeeded(act.id, "signalled")
    assert (receipt.status, receipt.early) == ("applied", True)
    act.go_on("trigger")
    assert act.ended() == succeeded()


def test_the_park_waits_and_the_signal_was_first(crowd: Crowd, pool: ThreadPoolExecutor) -> None:
    act = crowd.start(plan={"trigger": "hold"})
    act.wait_held("trigger")
    with crowd.lock(act) as lock:
        signal = pool.submit(crowd.system.external.signal_succeeded, act.id, "signalled")
        lock.wait_for_waiting(1)
        act.go_on("trigger")
        wait_for(lambda: backend_state(act) == "PARKED", what="the result backend to say PARKED")
        lock.wait_for_waiting(2)
        assert not signal.done()
    assert signal.result(timeout=30).status == "applied"
    # On SQLite either may be first.
    assert signal.result().early or crowd.is_sqlite
    assert act.ended() == succeeded()
    assert events(act) == ["succeeded"]


def test_the_signal_waits_and_the_park_was_first(crowd: Crowd, pool: ThreadPoolExecutor) -> None:
    act = crowd.start(plan={"trigger": "hold"})
    act.wait_held("trigger")
    with crowd.lock(act) as lock:
        act.go_on("trigger")
        wait_for(lambda: backend_state(act) == "PARKED", what="the result backend to say PARKED")
        lock.wait_for_waiting(1)
        assert act.job.state == "STARTED"
        signal = pool.submit(crowd.system.external.signal_succeeded, act.id, "signalled")
        lock.wait_for_waiting(2)
    assert signal.result(timeout=30).status == "applied"
    assert not signal.result().early or crowd.is_sqlite
    assert act.ended() == succeeded()
    assert events(act) == ["succeeded"]


def test_the_triggers_own_end_waits_for_a_signal(crowd: Crowd, pool: ThreadPoolExecutor) -> None:
    act = crowd.start("raise", plan={"trigger": "hold"})
    act.wait_held("trigger")
    with crowd.lock(act) as lock:
        signal = pool.submit(crowd.system.external.signal_succeeded, act.id, "signalled")
        lock.wait_for_waiting(1)
        act.go_on("trigger")
        lock.wait_for_waiting(2)
    if crowd.is_sqlite and signal.exception(timeout=30) is not None:
        assert isinstance(signal.exception(), JobAlreadyCompletedError)
        assert act.ended().kind == "failed"
    else:
        assert signal.result(timeout=30).status == "applied"
        crowd.barrier()
        act.let_time_pass()  # the trigger's worker had looked before; the sweep sends it
        assert act.ended() == succeeded()


@pytest.mark.parametrize("how", ["retry", "rerun"])
def test_a_late_signal_of_the_old_attempt(crowd: Crowd, how: str) -> None:
    act = crowd.start()
    act.wait_parked()
    if how == "retry":
        again = ConnectionError("try again")
        crowd.system.external.signal_failed(act.id, again, attempt=1)
    else:
        crowd.system.external.rerun_job(act.id)
    crowd.system.wait_attempt(act.id, 2)
    with pytest.raises(StaleAttemptError):
        crowd.system.external.signal_succeeded(act.id, "late", attempt=1)
    assert act.job.state == "PARKED"
    # Without its attempt it counts for the open one, as documented.
    receipt = crowd.system.external.signal_succeeded(act.id, "signalled")
    assert (receipt.status, receipt.attempt) == ("applied", 2)
    assert act.ended() == succeeded()
    assert act.count("triggers") == 2


def test_a_signal_of_the_old_attempt_waits_for_the_retry(
    crowd: Crowd, pool: ThreadPoolExecutor
) -> None:
    """The retry is being written while the signal comes: one of them is first, never both."""
    act = crowd.start("retry", plan={"trigger": "hold"})
    act.wait_held("trigger")
    with crowd.lock(act) as lock:
        act.go_on("trigger")
        lock.wait_for_waiting(1)
        signal = pool.submit(crowd.system.external.signal_succeeded, act.id, "signalled", attempt=1)
        lock.wait_for_waiting(2)
    error = signal.exception(timeout=30)
    assert error is None or isinstance(error, StaleAttemptError)
    assert isinstance(error, StaleAttemptError) or crowd.is_sqlite
    if error is None:
        assert act.ended() == succeeded()
        assert act.job.attempt == 1
    else:
        assert act.ended().kind == "failed"  # Celery: the one retry was used up
        assert act.job.attempt == 2
