"""What a task finds and leaves is what it finds and leaves in a worker."""

from __future__ import annotations

import logging
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from celery import Celery, Task, _state, chain, chord
from celery.exceptions import Reject

from celery_external import (
    ExternalTask,
    TriggerLostError,
    testing,
)
from celery_external.testing import DrainLimitError, Kit
from tests.kit.conftest import DAY, close_results, start
from tests.systems import System


def test_what_a_task_raises_is_recorded(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask_badly").s())
    job = kit.external.get_job(result)
    assert (job.state, job.reason) == ("FAILURE", "ValueError: no such provider")
    with pytest.raises(ValueError, match="no such provider"):
        result.get(timeout=1)


def test_a_trigger_that_ends_the_process_is_lost(memory: Kit, shop: System) -> None:
    @shop.app.task(base=ExternalTask, shared=False)
    def leave() -> None:
        raise SystemExit(3)

    result = start(memory, leave.s())
    job = memory.external.get_job(result)
    assert (job.kind, job.settled) == ("lost", True)
    with pytest.raises(TriggerLostError, match="exited prematurely"):
        result.get(timeout=1)


def test_a_test_may_fail_within_a_task(memory: Kit, shop: System) -> None:
    @shop.app.task(shared=False)
    def check() -> None:
        pytest.fail("seen")

    check.delay()
    with pytest.raises(pytest.fail.Exception, match=r"^seen$"):
        memory.drain()


def test_a_task_out_of_memory_ends_the_test_as_it_would_end_a_worker(
    memory: Kit, shop: System
) -> None:
    @shop.app.task(shared=False)
    def fill() -> None:
        raise MemoryError("full")

    fill.delay()
    with pytest.raises(MemoryError, match="Process got: full"):
        memory.drain()


def test_a_hook_that_rejects_is_no_error_here(memory: Kit, shop: System) -> None:
    class Picky(Task):  # type: ignore[type-arg]  # generic from Celery 5.7 on
        name = "shop.picky"

        def run(self) -> None:
            """Do it."""

        def on_success(self, *_args: Any) -> None:
            raise Reject("not mine", requeue=False)

    shop.app.register_task(Picky()).delay()
    assert memory.drain() == 1
    assert shop.queue_length() == 0


def test_a_message_past_its_expiry_is_not_run(memory: Kit, shop: System) -> None:
    expired = datetime.now(UTC) - timedelta(seconds=1)
    result = start(memory, shop.task("echo").s(1), expires=expired)
    assert (result.state, shop.lines("echoes")) == ("REVOKED", [])


def test_a_task_may_not_wait_for_a_result_and_finds_its_app(memory: Kit, shop: System) -> None:
    seen: list[Any] = []

    @shop.app.task(shared=False)
    def wait() -> None:
        seen.append(_state.get_current_app())
        shop.task("echo").delay().get()

    with closing(Celery("other")) as other:
        result = start(memory, wait.s())
        assert seen == [shop.app]
        assert _state.get_current_app() is other
    with pytest.raises(RuntimeError, match=r"Never call result.get\(\) within a task!"):
        result.get(timeout=1)


def test_all_queues_are_drained_and_no_other(shop: System) -> None:
    ask, echo = shop.task("ask"), shop.task("echo")
    with testing.in_memory(shop.app, external_resume_queue="resumes") as kit:
        shop.app.control.broadcast("ping")
        echo.apply_async((1,), queue="other")
        chain(ask.s().set(queue="slow"), echo.s().set(queue="fast")).apply_async()
        assert kit.drain() == 2
        kit.external.signal_succeeded(kit.assert_parked(), "yes")
        assert shop.queue_length("resumes") == 1
        assert kit.drain() == 2
        assert shop.lines("echoes") == ["1", '"yes"']


def test_a_message_for_somebody_else_stays(
    memory: Kit, shop: System, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING, "celery_external"):
        shop.app.send_task("billing.charge")
        result = start(memory, shop.task("add").s(1, 1))
    assert result.get(timeout=1) == 2
    assert shop.queue_length() == 1
    assert caplog.messages == [
        "There is no task billing.charge here; its message stays in the queue"
    ]


def test_a_module_that_a_worker_imports_is_imported(
    shop: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "late_tasks.py").write_text(
        "from celery import current_app\n"
        "@current_app.task(name='late.double', shared=False)\n"
        "def double(number):\n"
        "    return 2 * number\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    with testing.in_memory(shop.app, imports=["late_tasks"]) as kit:
        result = shop.app.send_task("late.double", (21,))
        assert kit.drain() == 1
        assert result.get(timeout=1) == 42


def test_the_limit_says_what_goes_round(memory: Kit, shop: System) -> None:
    @shop.app.task(bind=True, max_retries=None, shared=False, name="shop.look_again")
    def look_again(self: Any) -> None:
        raise self.retry(countdown=DAY)

    look_again.delay()
    with pytest.raises(DrainLimitError) as raised:
        memory.drain(limit=5)
    assert str(raised.value) == (
        "5 messages were run, and the next one is for shop.look_again: a task that sends or "
        "retries itself does so without end, because no eta is waited for. If there really are so "
        "many, raise the limit: drain(limit=…)"
    )
    assert shop.queue_length() == 1


def test_the_limit_loses_no_chord(shop: System, tmp_path: Path) -> None:
    ask, collect = shop.task("ask"), shop.task("collect")
    backend = f"db+sqlite:///{tmp_path}/results.sqlite3"
    with testing.in_memory(shop.app, result_backend=backend) as kit:
        for _ in range(3):
            chord([ask.s()], collect.s()).apply_async()
        with pytest.raises(DrainLimitError, match=r"for celery\.chord_unlock: a task"):
            kit.drain(limit=4)
        assert shop.queue_length() == 3
        close_results(shop.app.backend)
