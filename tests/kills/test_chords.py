"""A child of the pool is killed around the end of a chord that its jobs are the members of."""

from __future__ import annotations

from typing import Any

from celery import chord

from celery_external import states
from tests.kills.life import (
    backend_state,
    check_that_nothing_is_left,
    deliveries,
    is_owed,
    kill_children,
    row_of,
    sweeping,
)
from tests.kills.statements import SETTLE
from tests.kills.stops import FileStop, Stop, stop_at
from tests.processes import Worker
from tests.systems import System


class Chord:
    """Two external members, parked, and the body."""

    def __init__(self, system: System, name: str) -> None:
        self._system = system
        self.name = name
        # What a member links is published before it counts, and that is where it can be stopped.
        ask = system.task("ask").s().set(link=[system.task("take_nothing").si()])
        result: Any = chord([ask.clone(), ask.clone()], system.task("collect").s()).delay()
        self.result = result
        self.first, self.last = [str(member.id) for member in result.parent.results]
        for job_id in (self.first, self.last):
            system.wait_parked(job_id)

    def succeed(self, job_id: str) -> None:
        """Signal a member."""
        self._system.external.signal_succeeded(job_id, self.name)

    def stop_at_settlement(self, job_id: str) -> Stop:
        """Have a member counted, and not settled."""
        before = FileStop(self._system, "publish", job_id)
        self.succeed(job_id)
        before.wait()
        stop = stop_at(self._system, SETTLE, job_id)
        before.clear()
        stop.wait()
        return stop

    def stop_at_body(self, job_id: str) -> Stop:
        """Have the last member start the body, and stop before that is published."""
        stop = FileStop(self._system, "publish-collect", job_id)
        self.succeed(job_id)
        stop.wait()
        return stop


def test_a_child_is_killed_around_the_end_of_a_chord(
    station: System, station_worker: Worker
) -> None:
    counted, started, starting = (
        Chord(station, name) for name in ("counted", "started", "starting")
    )
    for one in (started, starting):
        one.succeed(one.first)
        station.wait_settled(one.first)
    stops = [
        counted.stop_at_settlement(counted.first),
        started.stop_at_settlement(started.last),
        starting.stop_at_body(starting.last),
    ]
    victims = (counted.first, started.last, starting.last)
    for job_id in victims:
        assert is_owed(station, job_id)
        assert row_of(station, job_id)["claim"]
    assert [backend_state(station, job_id) for job_id in victims] == [states.SUCCESS] * 3
    assert started.result.get(timeout=30) == ["started", "started"]
    assert [deliveries(station, one.result.id) for one in (counted, starting)] == [0, 0]
    kill_children(station_worker)
    for stop in stops:
        stop.clear()
    with sweeping(station):
        station.wait_settled(counted.first)
        # Counted twice, the first member does not stand for the last one.
        assert deliveries(station, counted.result.id) == 0
        counted.succeed(counted.last)
        for one in (counted, started, starting):
            for job_id in (one.first, one.last):
                assert station.wait_settled(job_id).state == states.SUCCESS
                assert backend_state(station, job_id) == states.SUCCESS
            assert one.result.get(timeout=30) == [one.name, one.name]
            assert deliveries(station, one.result.id) == 1
    check_that_nothing_is_left(station)
