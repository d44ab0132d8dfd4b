"""``celery.chord_unlock`` on a database: the longer a chord waits outside, the fewer its looks."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chord
from celery.exceptions import Retry

from tests.processes import Worker
from tests.systems import System
from tests.waiting import wait_for

UNLOCK = "celery.chord_unlock"
#: Celery's own pause between two looks.
INTERVAL = 0.5
YEAR = 365 * 24 * 3600


@pytest.fixture(scope="module")
def make(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Callable[..., System]]:
    """Makes systems whose results are rows of a database."""
    valkey = request.getfixturevalue("valkey")
    with ExitStack() as made:

        def make(**conf: Any) -> System:
            scratch = tmp_path_factory.mktemp("unlock")
            system = System(
                broker_url=valkey.fresh_database(),
                result_url=f"db+sqlite:///{scratch / 'results.db'}",
                database_url=f"sqlite:///{scratch / 'jobs.db'}",
                scratch=scratch,
                conf={"result_chord_retry_interval": INTERVAL, **conf},
            )
            return made.enter_context(closing(system))

        yield make


def age(system: System, job: Any, seconds: float) -> None:
    """Have the job be there for so long."""
    then = datetime.now(UTC) - timedelta(seconds=seconds)
    system.execute(
        "UPDATE celery_external_job SET created_at = :then WHERE id = :id",
        then=then.strftime("%Y-%m-%d %H:%M:%S.%f"),
        id=str(job),
    )


# --- With a worker --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def system(make: Callable[..., System]) -> System:
    """The one that the worker belongs to."""
    return make()


@pytest.fixture(scope="module")
def worker(system: System) -> Iterator[Worker]:
    """A worker, with room for all that waits."""
    with system.worker() as started:
        yield started


class Looks:
    """The looks at one chord: what the worker's log and its timer say."""

    def __init__(self, system: System, worker: Worker, result: Any) -> None:
        self._inspect = system.app.control.inspect([worker.hostname], limit=1)
        self._worker = worker
        self._group_id = result.parent.id
        self._found: list[dict[str, Any]] = []
        wait_for(self._find, what="a look to be planned")
        self.unlock_id = self._found[0]["id"]

    def _find(self) -> bool:
        scheduled: Any = self._inspect.scheduled() or {}
        self._found = [
            {**planned["request"], "eta": datetime.fromisoformat(planned["eta"])}
            for planned in scheduled.get(self._worker.hostname, ())
            if planned["request"]["name"] == UNLOCK
            and planned["request"]["args"][0] == self._group_id
        ]
        return bool(self._found)

    def planned_in(self) -> float:
        """Seconds until the next look, by the ETA of its message."""
        if not self._find():
            return 0
        seconds: float = (self._found[0]["eta"] - datetime.now(UTC)).total_seconds()
        return seconds

    @property
    def countdowns(self) -> list[float]:
        """Seconds from one look to the next, in order."""
        pattern = re.compile(rf"{UNLOCK}\[{self.unlock_id}\] retry: Retry in ([\d.]+)s")
        return [float(found) for found in pattern.findall(self._worker.log())]


def test_the_looks_become_fewer_and_the_body_begins_soon(system: System, worker: Worker) -> None:
    result: Any = chord(
        [system.task("ask").s(), system.task("echo").s(1)], system.task("collect").s()
    ).apply_async()
    job = system.wait_parked(result.parent[0])
    looks = Looks(system, worker, result)
    wait_for(lambda: looks.countdowns, what="Celery's own pause")
    assert looks.countdowns[0] == INTERVAL
    age(system, job.id, 20)
    wait_for(lambda: looks.countdowns[-1] >= 2, what="a longer pause")
    age(system, job.id, 30)
    wait_for(lambda: 2.5 <= looks.planned_in() <= 4, what="a still longer one, in the message")
    assert looks.countdowns == sorted(looks.countdowns)
    system.external.signal_succeeded(job, "answer")
    assert result.get(timeout=20) == ["answer", 1]


def test_a_look_is_a_minute_away_at_the_most(system: System, worker: Worker) -> None:
    result: Any = chord(
        [system.task("ask").s(), system.task("echo").s(1)], system.task("collect").s()
    ).apply_async()
    age(system, system.wait_parked(result.parent[0]).id, YEAR)
    looks = Looks(system, worker, result)
    wait_for(lambda: 50 < looks.planned_in() <= 60, what="the longest pause")
    assert looks.countdowns[-1] == 60


def test_a_chord_without_external_jobs_is_as_celery_has_it(system: System, worker: Worker) -> None:
    age(system, system.wait_parked(system.task("ask").delay()).id, YEAR)
    echo = system.task("echo")
    result: Any = chord(
        [echo.s(1), echo.s(2).set(countdown=3)], system.task("collect").s()
    ).apply_async()
    looks = Looks(system, worker, result)
    assert result.get(timeout=20) == [1, 2]
    assert len(looks.countdowns) >= 3
    assert set(looks.countdowns) == {INTERVAL}


# --- One look -------------------------------------------------------------------------------------


def take_unlocks(system: System) -> list[tuple[Any, Any]]:
    """The arguments of each ``celery.chord_unlock`` in the queue."""
    found = []
    with system.app.connection_for_read() as connection:
        queue = system.app.amqp.queues["celery"](connection.default_channel)
        while message := queue.get(no_ack=True):
            if message.headers["task"] == UNLOCK:
                found.append(message.payload[:2])
    return found


def look(system: System, args: Any, kwargs: Any) -> float:
    """Run it once, as a worker does; the seconds until the next time."""
    unlock: Any = system.app.tasks[UNLOCK]
    unlock.push_request(id="unlock", args=args, kwargs=kwargs, called_directly=False)
    try:
        with pytest.raises(Retry) as caught:
            unlock(*args, **kwargs)
    finally:
        unlock.pop_request()
    when: Any = caught.value.when
    return float(when)


def start_chord(system: System) -> tuple[Any, Any, Any]:
    """A chord whose members have been there for 100 s; its result, and the arguments."""
    ask, collect = system.task("ask"), system.task("collect")
    result: Any = chord([ask.s(), ask.s()], collect.s()).apply_async()
    for member in result.parent:
        age(system, member.id, 100)
    ((args, kwargs),) = take_unlocks(system)
    return result, args, kwargs


def test_the_youngest_open_job_counts(make: Callable[..., System]) -> None:
    system = make()
    result, args, kwargs = start_chord(system)
    age(system, result.parent[0].id, 30)
    assert look(system, args, kwargs) == pytest.approx(3, abs=1)


@pytest.mark.parametrize(
    ("change", "is_open"),
    [
        ("state = 'STARTED'", True),
        ("state = 'FAILURE', kind = 'timed_out'", True),  # owed
        ("state = 'FAILURE', kind = 'timed_out', wake_at = NULL", False),
        ("state = 'SUCCESS', kind = 'continued', wake_at = NULL", True),  # by other steps
    ],
)
def test_what_counts_as_open(make: Callable[..., System], change: str, *, is_open: bool) -> None:
    system = make()
    _, args, kwargs = start_chord(system)
    system.execute(f"UPDATE celery_external_job SET {change}")  # noqa: S608
    assert look(system, args, kwargs) == (pytest.approx(10, abs=1) if is_open else INTERVAL)


@pytest.mark.parametrize(
    ("conf", "longest"),
    [
        # A message whose ETA is farther away is delivered to another worker meanwhile.
        ({"broker_transport_options": {"visibility_timeout": 8}}, 2),
        # Nobody but this message keeps the others' results.
        ({"result_expires": 12}, 3),
        # Celery's own setting is not made shorter.
        ({"result_chord_retry_interval": 33.0}, 33),
    ],
)
def test_settings_that_bound_it(
    make: Callable[..., System], conf: dict[str, Any], longest: float
) -> None:
    system = make(**conf)
    _, args, kwargs = start_chord(system)
    assert look(system, args, kwargs) == longest


def test_the_outer_chord_knows_the_members_of_the_inner_one(make: Callable[..., System]) -> None:
    system = make()
    ask, collect = system.task("ask"), system.task("collect")
    inner = chord([ask.s(), ask.s()], collect.s())
    chord([inner, system.task("echo").s(1)], collect.s()).apply_async()
    for job in system.find_all(order="created"):
        age(system, job.id, 100)
    unlocks = take_unlocks(system)
    assert len(unlocks) == 2
    for args, kwargs in unlocks:
        assert look(system, args, kwargs) == pytest.approx(10, abs=1)


def test_without_the_jobs_database_it_is_as_celery_has_it(
    make: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    system = make()
    _, args, kwargs = start_chord(system)
    system.execute("DROP TABLE celery_external_job")
    assert look(system, args, kwargs) == INTERVAL
    assert "cannot be looked at" in caplog.text
