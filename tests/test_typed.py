"""A task that says what its results are: no other result is kept, whoever gives it."""

from __future__ import annotations

import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

import pytest
from celery import chain
from pydantic import BaseModel, ConfigDict, Field, field_validator

from celery_external import (
    ExternalTask,
    Failed,
    JobAlreadyCompletedError,
    OptionError,
    ResultInvalidError,
    StaleAttemptError,
    Succeeded,
    signals,
    states,
)
from celery_external.result_type import ResultType
from celery_external.store import attempts
from celery_external.store.database import Transaction
from tests.processes import REPOSITORY
from tests.rows import CLAIM, NO_BROKER, Rows, ask
from tests.systems import System
from tests.test_states_races import Waiters, told

SECRET = "sesame"  # noqa: S105 - what no message may repeat
URL = "https://example.org/cat"
VIDEO = {"url": URL, "seconds": 3, "made": None}
WRONG = {"url": URL, "seconds": SECRET}
PROBLEM = "seconds: Input should be a valid integer, unable to parse string as an integer"


class Video(BaseModel):
    """What the rows' task declares."""

    url: str
    seconds: int
    made: datetime | None = None


# --- With a worker --------------------------------------------------------------------------------


@pytest.fixture(scope="module", params=["SQLite", "PostgreSQL"])
def typed(
    request: pytest.FixtureRequest, make_shared_system: Callable[..., System]
) -> Iterator[System]:
    """The app of ``tests.apps.typed`` and a worker of it, on both databases."""
    made = make_shared_system(
        request.param,
        conf={"external_sweep_in_worker": True, "external_sweep_interval": 0.1},
        tasks="tests.apps.typed",
    )
    with closing(made), made.worker():
        yield made


MADE = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
MADE_JSON = {**VIDEO, "made": "2026-01-02T03:04:05Z"}


@pytest.mark.parametrize(
    ("name", "given", "kept"),
    [
        ("render", lambda app: app.Video(url=URL, seconds=3, made=MADE), MADE_JSON),
        ("render", {"url": URL, "seconds": "3"}, VIDEO),
        ("render", {**VIDEO, "made": "2026-01-02T03:04:05+00:00", "more": 1}, MADE_JSON),
        ("count", (1, "2"), [1, 2]),
        ("perhaps", None, None),
        ("place", lambda app: app.Point(1, 2), {"x": 1, "y": 2}),
        ("place", {"x": 1, "y": 2}, {"x": 1, "y": 2}),
        ("measure", {"width": 5}, {"width": 5}),
        ("rate", 7, 7),
    ],
)
def test_the_next_step_sees_the_json_of_the_type(
    typed: System, name: str, given: Any, kept: Any
) -> None:
    value = given(typed.module) if callable(given) else given
    arguments = ("a cat",) if name == "render" else ()
    result: Any = chain(typed.task(name).s(*arguments), typed.task("echo").s()).apply_async()
    job = typed.wait_parked(result.parent)
    assert typed.task(name).signal_succeeded(job, value, by="alice").status == "applied"
    assert typed.external.signal_succeeded(job, value).status == "duplicate"
    assert result.get(timeout=20) == kept
    assert typed.get(job).result == kept


def test_it_is_what_celerys_own_support_gives(typed: System) -> None:
    video = typed.module.Video(url=URL, seconds=3, made=MADE)
    ours: Any = chain(typed.task("render").s("a cat"), typed.task("echo").s()).apply_async()
    theirs = chain(typed.task("celerys_own").s(MADE_JSON), typed.task("echo").s()).apply_async()
    typed.external.signal_succeeded(typed.wait_parked(ours.parent), video)
    assert ours.get(timeout=20) == theirs.get(timeout=20)


def test_the_tasks_own_signal_may_also_be_a_failure(typed: System) -> None:
    result = typed.task("render").delay("a cat")
    typed.task("render").signal_failed(typed.wait_parked(result), "no cats", by="bob", attempt=1)
    with pytest.raises(Exception, match=r"^no cats$"):
        result.get(timeout=20)
    assert typed.get(result).completed_by == "bob"


def test_a_trigger_that_knows_the_result_is_held_to_it(typed: System) -> None:
    good, bad = (typed.task("know").delay(video) for video in ({**VIDEO, "seconds": "3"}, WRONG))
    assert good.get(timeout=20) == VIDEO
    with pytest.raises(ResultInvalidError, match=PROBLEM):
        bad.get(timeout=20)
    job = typed.wait_settled(bad)
    assert (job.state, job.kind) == (states.FAILURE, "failed")
    assert SECRET not in f"{job.reason} {bad.traceback}"


def test_a_timeouts_answer_is_held_to_it(typed: System) -> None:
    wait = typed.task("wait")
    good, bad = wait.delay({**VIDEO, "seconds": "3"}), wait.delay(WRONG)
    # A step to go on with is no result.
    step = wait.delay(typed.task("echo").si("another step"))
    assert good.get(timeout=20) == VIDEO
    with pytest.raises(ResultInvalidError, match=PROBLEM):
        bad.get(timeout=20)
    assert step.get(timeout=20) == "another step"
    job = typed.wait_settled(bad)
    assert [entry.event for entry in job.history] == ["timed_out", "timeout_answered"]
    assert job.reason == f"ResultInvalidError: {bad.result}"


def test_what_replaces_the_task_gives_what_it_likes(typed: System) -> None:
    result = typed.task("become").delay(typed.task("echo").si("another step"))
    assert result.get(timeout=20) == "another step"


def test_what_replaces_an_eager_task_gives_what_it_likes(database_url: str, tmp_path: Path) -> None:
    made = System(
        broker_url="memory://",
        result_url="cache+memory://",
        database_url=database_url,
        scratch=tmp_path,
        conf={"task_always_eager": True},
        tasks="tests.apps.typed",
    )
    with closing(made):
        result = made.task("become").delay(made.task("echo").si("another step"))
        assert result.get() == "another step"
        parked = made.task("render").delay("a cat")
        with pytest.raises(ResultInvalidError):
            made.external.signal_succeeded(parked, WRONG)
        assert made.external.signal_succeeded(parked, VIDEO).status == "applied"


# --- Refused --------------------------------------------------------------------------------------


@pytest.fixture
def rows(database_url: str) -> Iterator[Rows]:
    """Jobs of a task whose results are Videos, and nobody who works for them."""
    with closing(Rows(database_url)) as made:
        declare(made, "rows.video", Video)
        yield made


def declare(rows: Rows, name: str, result_type: Any) -> None:
    """Make the rows' next jobs those of a task with this type."""
    make = rows.app.task(base=ExternalTask, name=name, shared=False, result_type=result_type)
    rows.task = make(ask)


@pytest.fixture
def refused() -> Iterator[list[dict[str, Any]]]:
    """What ``signal_refused`` was sent with."""
    got: list[dict[str, Any]] = []

    def note(**said: Any) -> None:
        got.append(said)

    signals.signal_refused.connect(note)
    yield got
    signals.signal_refused.disconnect(note)


def test_a_wrong_result_leaves_the_job_as_it_is(
    rows: Rows, refused: list[dict[str, Any]], caplog: pytest.LogCaptureFixture
) -> None:
    job_id = rows.parked()
    before = rows.get(job_id)

    with pytest.raises(ResultInvalidError, match=PROBLEM) as raised:
        rows.external.signal_succeeded(job_id, WRONG, by="alice", reason="it is done")

    text = f"Job {job_id}: the result is not of the type that rows.video declares: {PROBLEM}"
    assert str(raised.value) == text
    assert SECRET not in "".join(traceback.format_exception(raised.value))
    assert rows.get(job_id) == before
    assert rows.sent() == []
    (line,) = rows.external.get_job(job_id).history
    assert (line.event, line.by, line.reason) == ("refused", "alice", "it is done")
    assert line.details == {"kind": "succeeded", "error": text}
    (said,) = refused
    assert (said["job"].id, said["error"]) == (job_id, raised.value)
    assert f"Refused: {text}" in caplog.messages

    assert rows.external.signal_succeeded(job_id, VIDEO).status == "applied"
    assert rows.events(job_id) == ["refused", "succeeded"]


@pytest.mark.parametrize("name", ["pending", "started"])
def test_before_the_job_has_parked_too(rows: Rows, name: str) -> None:
    job_id = getattr(rows, name)()
    with pytest.raises(ResultInvalidError):
        rows.external.signal_succeeded(job_id, WRONG)
    assert rows.events(job_id) == ["refused"]
    assert rows.get(job_id)["kind"] is None


def test_of_many_only_the_wrong_ones_are_refused(rows: Rows) -> None:
    good, bad, corrected, failed = (rows.parked() for _ in range(4))
    receipts = rows.external.signal_many(
        [
            (good, Succeeded(Video(url=URL, seconds=3))),
            (bad, Succeeded(WRONG)),
            (corrected, Succeeded(WRONG)),
            (corrected, Succeeded(VIDEO)),
            (failed, Failed("no")),
            ("nobody", Succeeded(VIDEO)),
            ("no\x00body", Succeeded(VIDEO)),
        ],
        by="alice",
    )
    assert [(receipt.status, type(receipt.error).__name__) for receipt in receipts] == [
        ("applied", "NoneType"),
        ("refused", "ResultInvalidError"),
        ("refused", "ResultInvalidError"),
        ("applied", "NoneType"),
        ("applied", "NoneType"),
        ("refused", "JobNotFoundError"),
        ("refused", "JobNotFoundError"),
    ]
    assert rows.external.get_job(good).result == VIDEO
    (line,) = rows.external.get_job(bad).history
    assert (line.event, line.by) == ("refused", "alice")
    assert rows.events(corrected) == ["refused", "succeeded"]


def test_that_a_job_or_attempt_is_over_comes_first(rows: Rows) -> None:
    job_id = rows.parked()
    with pytest.raises(StaleAttemptError):
        rows.external.signal_succeeded(job_id, WRONG, attempt=2)
    rows.external.signal_succeeded(job_id, VIDEO)
    with pytest.raises(JobAlreadyCompletedError):
        rows.external.signal_succeeded(job_id, WRONG)
    assert rows.external.signal_succeeded(job_id, Video(url=URL, seconds=3)).status == "duplicate"
    assert rows.events(job_id) == ["refused", "succeeded", "refused"]


def replaced_by_numbers(rows: Rows, tx: Transaction, job_id: str) -> object:
    return attempts.begin_next_attempt(
        tx,
        namespace=rows.namespace,
        job_id=job_id,
        row=(row := rows.get(job_id)),
        claim=CLAIM,
        start={**row, "task": "rows.numbers", "deadline": None},
        state=states.PENDING,
        wake_in=3600,
        event="replaced",
    )


def one(rows: Rows, job_id: str) -> object:
    return rows.external.signal_succeeded(job_id, VIDEO)


def many(rows: Rows, job_id: str) -> object:
    (receipt,) = rows.external.signal_many([(job_id, Succeeded(VIDEO))])
    if receipt.error is not None:
        raise receipt.error
    return receipt


@pytest.mark.parametrize("signal", [one, many])
def test_a_result_counts_only_for_the_task_by_which_it_was_checked(
    rows: Rows, database_url: str, signal: Callable[[Rows, str], object]
) -> None:
    job_id = rows.started()
    declare(rows, "rows.numbers", list[int])
    waiters = Waiters(rows)

    # A process has a lock of its own for SQLite, and the worker is another process.
    with closing(Rows(database_url)) as worker, ThreadPoolExecutor(1) as pool:
        with worker.database.transaction() as tx:
            assert replaced_by_numbers(worker, tx, job_id)
            # It has been checked as a Video, and waits to be written.
            second = pool.submit(signal, rows, job_id)
            waiters.wait_for(1)
        assert told(second) == ResultInvalidError.__name__

    assert rows.events(job_id) == ["replaced", "refused"]
    assert rows.get(job_id)["kind"] is None
    assert rows.external.signal_succeeded(job_id, [1]).status == "applied"


def test_who_does_not_know_the_task_checks_nothing(rows: Rows, database_url: str) -> None:
    job_id = rows.parked()
    with closing(Rows(database_url, broker_url=NO_BROKER)) as stranger:
        assert stranger.external.signal_succeeded(job_id, WRONG).status == "applied"


# --- The type -------------------------------------------------------------------------------------


def problem_of(declared: Any, value: Any) -> str:
    """What is said about a wrong result."""
    with pytest.raises(ResultInvalidError) as raised:
        ResultType(declared).check("id", "task", value)
    assert raised.value.__context__ is raised.value.__cause__
    return raised.value.problem


class Deep(BaseModel):
    """A model in a model, with a rule of its own."""

    model_config = ConfigDict(extra="forbid")
    videos: list[Video] = Field(max_length=3)

    @field_validator("videos")
    @classmethod
    def _check(cls, videos: list[Video]) -> list[Video]:
        return sorted(videos, key=lambda video: int(video.url))


def test_each_field_is_named_by_its_path() -> None:
    assert problem_of(Deep, {"videos": [VIDEO, {"seconds": 1.5}], "x": 1}) == (
        "videos.1.url: Field required; videos.1.seconds: Input should be a valid integer, "
        "got a number with a fractional part; x: Extra inputs are not permitted"
    )
    assert problem_of(list[int], SECRET) == "Input should be a valid list"


def test_of_many_mistakes_a_few_are_named() -> None:
    assert problem_of(list[int], ["x"] * 1000).endswith("; and 995 more")
    assert len(problem_of(dict[str, int], {"x" * 10_000: "x"})) < 1000


def test_a_model_that_was_spoilt_after_it_was_made_is_refused() -> None:
    video = Video(url=URL, seconds=3)
    video.seconds = SECRET  # type: ignore[assignment]
    problem = "it does not fit its own type, or cannot be written as JSON"
    assert problem_of(Video, video) == problem
    assert problem_of(bytes, b"\xff") == problem


def test_a_rule_that_breaks_is_no_success() -> None:
    class Broken(BaseModel):
        number: int

        @field_validator("number")
        @classmethod
        def _check(cls, number: int) -> float:
            return {0: 0.5}[number]

    assert problem_of(Broken, {"number": 1}) == "KeyError while it was validated"


def test_a_type_is_inherited_until_another_is_declared() -> None:
    class First(ExternalTask):
        result_type: ClassVar[Any] = list[int]

    class Second(First):
        timeout = 1

    class Third(Second):
        result_type: ClassVar[Any] = Video

    class Fourth(Third):
        result_type = None

    assert Second.checked_result_type is First.checked_result_type is not None
    assert Third.checked_result_type is not None
    assert Third.checked_result_type.check("id", "task", VIDEO) == VIDEO
    assert Fourth.checked_result_type is None


def make(**options: Any) -> None:
    type("Made", (ExternalTask,), {"run": lambda _self: None, **options})


def test_what_cannot_be_declared_is_refused_as_the_task_is_made() -> None:
    with pytest.raises(OptionError, match=r"^result_type: pydantic cannot validate <object"):
        make(result_type=object())
    with pytest.raises(OptionError, match=r"^timeout_result: is no .*Video.*: url: Field required"):
        make(result_type=Video, timeout_result={"seconds": 1})
    make(result_type=Video, timeout_result=VIDEO)
    make(result_type=int | None, timeout_result=None)


WITHOUT_PYDANTIC = """
import sys
sys.modules["pydantic"] = None  # as if it were not installed
from celery_external import ExternalTask, OptionError
class Plain(ExternalTask): pass
try:
    class Typed(ExternalTask): result_type = list[int]
except OptionError as exc:
    print(exc)
"""


def test_without_pydantic_a_type_is_refused_with_what_to_install() -> None:
    run = subprocess.run(
        [sys.executable, "-c", WITHOUT_PYDANTIC],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    said = 'result_type: needs pydantic: pip install "celery-external[pydantic]"\n'
    assert run.stdout == said


def test_a_subscripted_class_is_the_class() -> None:
    class Render(ExternalTask[[str], Video]):
        pass

    assert ExternalTask[[str], Video] is ExternalTask
    assert Render.__bases__ == (ExternalTask,)
    assert Render.result_type is None, "a type for type checkers checks nothing by itself"
