"""``continue_with``: a job goes on as another step, chosen from outside."""

from __future__ import annotations

from typing import Any

import pytest
from celery import chain, chord, group

from celery_external import (
    JobAlreadyCompletedError,
    OptionError,
    Receipt,
    StaleAttemptError,
    UnserializableError,
    states,
)
from tests.systems import System
from tests.waiting import wait_for


def place_alone(system: System) -> tuple[Any, Any]:
    result = system.task("ask").delay()
    return result, result


def place_first(system: System) -> tuple[Any, Any]:
    result: Any = chain(system.task("ask").s(), system.task("wrap").s("last")).apply_async()
    return result.parent, result


def place_middle(system: System) -> tuple[Any, Any]:
    wrap = system.task("wrap")
    canvas: Any = chain(wrap.s(0, "first"), system.task("ask").s(), wrap.s("last"))
    result = canvas.apply_async()
    return result.parent, result


def place_last(system: System) -> tuple[Any, Any]:
    result = chain(system.task("wrap").s(0, "first"), system.task("ask").s()).apply_async()
    return result, result


def place_header(system: System) -> tuple[Any, Any]:
    header = [system.task("echo").s("other"), system.task("ask").s()]
    result: Any = chord(header)(system.task("collect").s())
    return result.parent.results[1], result


def place_body(system: System) -> tuple[Any, Any]:
    echo = system.task("echo")
    result: Any = chord([echo.s(1), echo.s(2)])(system.task("ask").s())
    return result, result


#: What becomes of the step's result in each place.
PLACES: dict[str, tuple[Any, Any]] = {
    "alone": (place_alone, lambda value: value),
    "first": (place_first, lambda value: ["last", value]),
    "middle": (place_middle, lambda value: ["last", value]),
    "last": (place_last, lambda value: value),
    "header": (place_header, lambda value: ["other", value]),
    "body": (place_body, lambda value: value),
}


def steps(system: System) -> dict[str, tuple[Any, Any]]:
    """The steps to go on with, and their results."""
    echo, wrap, ask = system.task("echo"), system.task("wrap"), system.task("ask")
    return {
        "plain": (echo.s("next"), "next"),
        "external": (ask.s("next"), "answered"),
        "chain": (chain(echo.s("next"), wrap.s("then")), ["then", "next"]),
        "chain to external": (chain(echo.s("next"), ask.s()), "answered"),
        "chain from external": (chain(ask.s("next"), wrap.s("then")), ["then", "answered"]),
        "group": (group(echo.s(1), echo.s(2)), [1, 2]),
        "chord": (chord([echo.s(1), echo.s(2)], wrap.s("body")), ["body", [1, 2]]),
    }


def answer_the_next(system: System, known: str, root_id: str | None) -> None:
    """Complete the external step that has begun in the job's place, or before it."""

    def look() -> bool:
        for job in system.find_all(state=states.PARKED, root_id=root_id):
            if (job.id, job.attempt) != (known, 1):
                system.external.signal_succeeded(job, "answered", attempt=job.attempt)
                return True
        return False

    wait_for(look, what="the next external step to park")


@pytest.mark.parametrize(
    ("place", "step"),
    [
        *((place, step) for place in PLACES for step in ("plain", "external")),
        *(("middle", step) for step in ("chain", "chain to external", "chain from external")),
        *(("alone", step) for step in ("chain", "group", "chord", "chain from external")),
        ("header", "chain"), ("header", "group"), ("body", "chord"), ("first", "group"),
        ("last", "chain to external"),
    ],
)  # fmt: skip
def test_every_step_in_every_place(system: System, place: str, step: str) -> None:
    make, becomes = PLACES[place]
    signature, value = steps(system)[step]
    job, result = make(system)
    parked = system.wait_parked(job)
    receipt = system.external.signal_succeeded(job, continue_with=signature, attempt=1, by="alice")
    assert receipt == Receipt(job.id, attempt=1, status="applied", sent=True)
    if "external" in step:
        answer_the_next(system, job.id, parked.root_id)
    assert result.get(timeout=30) == becomes(value)
    assert job.get(timeout=30) == value
    done = system.wait_settled(job)
    assert done.state == states.SUCCESS
    first = done.history[0]
    assert (first.event, first.by, first.attempt) == ("continued", "alice", 1)


def test_a_result_is_the_next_steps_first_argument(system: System) -> None:
    wrap = system.task("wrap")
    expected = [
        (wrap.s("x"), ["x", 7]),
        (wrap.si(1, "x"), ["x", 1]),
        (chain(wrap.s("x"), wrap.s("y")), ["y", ["x", 7]]),
        (group(wrap.s("x"), wrap.s("y")), [["x", 7], ["y", 7]]),
        (chord([wrap.s("x")], wrap.s("y")), ["y", [["x", 7]]]),
    ]
    for signature, value in expected:
        job = system.task("ask").delay()
        system.wait_parked(job)
        system.external.signal_succeeded(job, 7, continue_with=signature)
        assert job.get(timeout=30) == value


def test_the_signal_again(system: System) -> None:
    ask = system.task("ask")
    job = ask.delay()
    system.wait_parked(job)
    signal = system.external.signal_succeeded
    assert signal(job, continue_with=ask.s("next"), attempt=1).status == "applied"
    second = system.wait_attempt(job, 2)
    assert (second.args, second.attempt) == (["next"], 2)
    with pytest.raises(StaleAttemptError):
        signal(job, continue_with=ask.s("next"), attempt=1)
    assert system.get(job).state == states.PARKED
    signal(job, "done", attempt=2)
    assert job.get(timeout=30) == "done"


def test_the_same_step_again_is_a_duplicate(idle_system: System) -> None:
    ask, echo = idle_system.task("ask"), idle_system.task("echo")
    job = ask.delay()
    signal = idle_system.external.signal_succeeded
    assert signal(job, continue_with=chain(echo.s(1), echo.s())).status == "applied"
    assert signal(job, continue_with=chain(echo.s(1), echo.s())).status == "duplicate"
    for other in ({"continue_with": echo.s(1)}, {"result": 1}):
        with pytest.raises(JobAlreadyCompletedError):
            signal(job, **other)


def test_the_callers_signature_stays_the_callers(idle_system: System) -> None:
    echo = idle_system.task("echo")
    step = chain(echo.s(), echo.s())
    before = repr(dict(step))
    idle_system.external.signal_succeeded(idle_system.task("ask").delay(), 1, continue_with=step)
    assert repr(dict(step)) == before


@pytest.mark.parametrize("what", [None, "task", 7, object()])
def test_what_is_no_step(idle_system: System, what: Any) -> None:
    job = idle_system.task("ask").delay()
    if what is None:
        what = group([])
    with pytest.raises(OptionError, match="continue_with"):
        idle_system.external.signal_succeeded(job, continue_with=what)
    step = idle_system.task("echo").s(object())
    with pytest.raises(UnserializableError):
        idle_system.external.signal_succeeded(job, continue_with=step)
    assert idle_system.get(job).history == ()


def test_an_early_signal_and_one_while_the_trigger_runs(system: System) -> None:
    echo = system.task("echo")
    early = system.task("ask").apply_async(countdown=3600)
    assert system.external.signal_succeeded(early, continue_with=echo.s("early")).early
    assert early.get(timeout=30) == "early"
    slow = system.task("ask_slowly").delay("continued")
    wait_for(lambda: "continued" in system.lines("started"), what="the trigger to run")
    assert system.external.signal_succeeded(slow, continue_with=echo.s("while")).early
    system.write("go-continued")
    assert slow.get(timeout=30) == "while"


def test_a_step_that_nobody_here_knows(system: System) -> None:
    job = system.task("ask").delay()
    system.wait_parked(job)
    step = system.app.signature("tests.apps.core.echo", args=("by name",))
    known = system.app.tasks.pop("tests.apps.core.echo")
    try:
        system.external.signal_succeeded(job, continue_with=step)
    finally:
        system.app.tasks.register(known)
    assert job.get(timeout=30) == "by name"
