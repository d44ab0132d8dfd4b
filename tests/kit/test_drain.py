"""Messages are run in this process until none is left; canvas goes on, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import chain, chord, group

from celery_external import (
    ExternalJobFailed,
    ExternalTask,
    Failed,
    Job,
    JobAlreadyCompletedError,
    OptionError,
    Progress,
    StaleAttemptError,
    Succeeded,
    testing,
)
from celery_external.testing import Kit
from tests.kit.conftest import DAY, TWO_DAYS, close_results, start
from tests.systems import System


def test_a_chain_goes_on_when_its_step_is_signalled(kit: Kit, shop: System) -> None:
    ask, wrap = shop.task("ask"), shop.task("wrap")
    result = chain(shop.task("add").s(1, 1), ask.s(), wrap.s("end")).apply_async()
    assert kit.drain() == 2
    job = kit.assert_parked(ask)
    assert (job.args, job.meta["asked"], result.state) == ([2], [[2], {}], "PENDING")

    done = kit.signal(job, Succeeded("yes"), by="alice")

    assert (done.state, done.settled, done.completed_by) == ("SUCCESS", True, "alice")
    assert result.get(timeout=1) == ["end", "yes"]
    assert kit.drain() == 0


def test_a_chord_waits_for_its_parked_members(kit: Kit, shop: System) -> None:
    ask, collect = shop.task("ask"), shop.task("collect")
    result = start(kit, chord([ask.s(1), shop.task("add").s(1, 1), ask.s(2)], collect.s()))
    first, second = kit.assert_parked(count=2)
    kit.signal(first, Succeeded("a"))
    assert result.state == "PENDING"
    kit.signal(second, Succeeded("b"))
    assert result.get(timeout=1) == ["a", 2, "b"]


def test_a_chord_fails_with_its_member(kit: Kit, shop: System) -> None:
    body = shop.task("collect").s().on_error(shop.task("on_error").s())
    result = start(kit, chord([shop.task("ask").s(), shop.task("add").s(1, 1)], body))
    kit.signal(kit.assert_parked(), Failed("declined"))
    assert result.state == "FAILURE"
    assert shop.lines("bodies") == []
    assert len(shop.lines("errbacks")) == 1


def test_a_chord_that_celery_polls_is_looked_at_and_left(shop: System, tmp_path: Path) -> None:
    ask, collect = shop.task("ask"), shop.task("collect")
    backend = f"db+sqlite:///{tmp_path}/results.sqlite3"
    with testing.in_memory(shop.app, result_backend=backend) as kit:
        result = chord([ask.s(1), ask.s(2)], collect.s()).apply_async()
        # Two triggers, and one look.
        assert kit.drain(limit=3) == 3
        first, second = kit.assert_parked(count=2)
        kit.signal(first, Succeeded("a"))
        # It looks once more, and the message is there for the next time.
        assert kit.drain() == 1
        kit.signal(second, Succeeded("b"))
        assert result.get(timeout=1) == ["a", "b"]
        assert kit.drain() == 0
        close_results(shop.app.backend)


def test_a_group_link_and_errbacks(kit: Kit, shop: System) -> None:
    ask, echo = shop.task("ask"), shop.task("echo")
    result: Any = group(
        ask.s(1).set(link=echo.s()), ask.s(2).set(link_error=shop.task("on_error").s())
    ).apply_async()
    kit.drain()
    first, second = kit.assert_parked(count=2)
    kit.signal(first, Succeeded("yes"))
    kit.signal(second, Failed("no"))
    assert shop.lines("echoes") == ['"yes"']
    assert shop.lines("errbacks") == [f"{second.id} ExternalJobFailed no"]
    assert [one.state for one in result.results] == ["SUCCESS", "FAILURE"]


def test_a_retry_does_not_wait(kit: Kit, shop: System) -> None:
    ask_again = shop.task("ask_again")
    result = start(kit, ask_again.s(), countdown=DAY)
    for attempt in (1, 2):
        job = kit.signal(kit.assert_parked(attempt=attempt), Failed("flaky"), attempt=attempt)
        assert (job.state, job.attempt) == ("PARKED", attempt + 1)
    with pytest.raises(StaleAttemptError):
        kit.signal(result, Failed("flaky"), attempt=1)
    assert kit.signal(result, Failed("flaky")).state == "FAILURE"
    with pytest.raises(ExternalJobFailed, match=r"^flaky$"):
        result.get(timeout=1)


def test_a_step_is_replaced_and_continued(kit: Kit, shop: System) -> None:
    ask, echo = shop.task("ask"), shop.task("echo")
    result = start(kit, shop.task("become").s(dict(ask.s("instead"))))
    job = kit.assert_parked()
    assert (job.id, job.args) == (result.id, ["instead"])
    kit.external.signal_succeeded(job, continue_with=echo.si("went on"))
    kit.drain()
    assert result.get(timeout=1) == "went on"


def test_progress_is_a_signal(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask").s())
    job = kit.signal(result, Progress(1, 2, "half"))
    assert job.progress is not None
    assert (job.state, job.progress.current, job.progress.message) == ("PARKED", 1, "half")


def test_a_wrong_signal_is_an_error(kit: Kit, shop: System) -> None:
    result = start(kit, shop.task("ask").s())
    kit.signal(result, Succeeded(1))
    with pytest.raises(JobAlreadyCompletedError):
        kit.signal(result, Failed("no"))
    wrong: Any = "yes"
    with pytest.raises(OptionError, match="must be Succeeded, Failed or Progress, not 'yes'"):
        kit.signal(result, wrong)


def test_a_late_signal_is_made_up_for(kit: Kit, shop: System) -> None:
    @shop.app.task(base=ExternalTask, timeout=DAY, shared=False)
    def pay() -> None:
        """Ask for money."""

    late: list[Any] = []
    task: Any = pay

    @task.late_signal  # type: ignore[untyped-decorator]  # it is Any
    def refund(job: Job, outcome: Succeeded | Failed) -> None:
        late.append((job.kind, outcome))

    result = start(kit, task.s())
    kit.shift(TWO_DAYS)
    with pytest.raises(JobAlreadyCompletedError):
        kit.signal(result, Succeeded("paid"))
    assert late == [("timed_out", Succeeded("paid"))]
