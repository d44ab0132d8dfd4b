"""Plays a combination: a job at each point, the kill, a new worker, and what became of the jobs."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

from celery import chain

from celery_external import states
from tests.kills.gate import Gate
from tests.kills.life import (
    APP,
    CONFIRM,
    GRACE,
    SWEEPING,
    backend_state,
    check_that_nothing_is_left,
    deliveries,
    kill_children,
    kill_now,
    row_of,
    with_conf,
)
from tests.kills.points import AtDeath, Combination, End, Point
from tests.kills.statements import PARK, SETTLE, TAKE
from tests.kills.stops import FileStop, Stop, stop_at
from tests.processes import Worker
from tests.systems import System
from tests.waiting import wait_for

#: What workers must not send: a second attempt (the header as JSON and as AMQP have it), and the
#: step after one of the points.
HELD = rb"external_attempt(\": 2|[a-zA-Z]\x00*\x02)|next-next_row"
#: On Redis a message that was taken and not acked is given to others after so many seconds.
VISIBILITY = {
    "visibility_timeout": 2,
    "unacked_restore_interval": 1,
    "unacked_restore_throttle": 1,
}


@dataclass(frozen=True)
class Seen:
    """What was seen of one job; in place of an end, why there was none."""

    at_death: AtDeath
    end: End | Exception


class Played:
    """The job of one point."""

    def __init__(self, system: System, combination: Combination, point: Point) -> None:
        self.point = point
        self._system = system
        self._combination = combination
        self._stop: Stop | None = None
        name = point.name
        arguments = ("succeeded", name) if point.task == "know" else (name,)
        step = system.task(point.task).s(*arguments).set(queue=name)
        if point.at_death.state in states.OPEN_STATES and combination.end_of(point).errbacks:
            # Where nobody is there to see it, time tells.
            step.set(trigger_timeout=1)
        step.on_error(system.task("on_error").s())
        after = system.task(point.next_task).s().set(queue=f"next-{name}")
        self.id: str = step.freeze().id
        #: Of the next step.
        self.next_id: str = after.freeze().id
        is_errback = point.next_task == "note_failure"
        self._call: Any = step.on_error(after) if is_errback else chain(step, after)

    # --- To the point ---

    def start(self) -> None:
        """Send it, where nobody takes it yet."""
        name, place = self.point.name, self.point.place
        if place not in {"in_trigger", "signalled_in_trigger", "before_park", "retried"}:
            self._system.write(f"go-{name}")
        if place == "after_park":
            self._stop = FileStop(self._system, "parked", self.id)
        elif place == "decided":
            self._stop = FileStop(self._system, "publish", self.id)
        self._call.apply_async()
        if place == "before_started":
            self._stop = stop_at(self._system, TAKE, self.id)

    def bring(self, gate: Gate) -> None:
        """See it to its point."""
        system, name, place = self._system, self.point.name, self.point.place
        if place in {"in_trigger", "signalled_in_trigger", "before_park", "retried"}:
            wait_for(lambda: name in system.lines("started"), what=f"{name} to start")
        if place == "signalled_in_trigger":
            receipt = system.external.signal_succeeded(self.id, name)
            assert (receipt.early, receipt.sent) == (True, False)
        elif place == "before_park":
            self._stop = stop_at(system, PARK, self.id)
            system.write(f"go-{name}")
        elif place == "retried":
            system.write(f"go-{name}")
            gate.wait(b"external_attempt")
        elif place == "next_row":
            system.external.signal_succeeded(system.wait_parked(self.id), name)
            gate.wait(b"next_row")
        elif place == "told_of_failure":
            before = FileStop(system, "publish", self.id)
            system.external.signal_failed(system.wait_parked(self.id), name)
            self._hold_settlement(before)
        elif place in {"claimed", "published", "told"}:
            system.wait_parked(self.id)
            self._bring_resume()
        if self._stop is not None:
            self._stop.wait()

    def _bring_resume(self) -> None:
        system, name, place = self._system, self.point.name, self.point.place
        before = FileStop(system, "publish", self.id)
        system.external.signal_succeeded(self.id, name)
        before.wait()
        if place == "claimed":
            self._stop = before
            return
        if place == "published":
            self._stop = FileStop(system, "published", self.id)
            before.clear()
        else:
            self._hold_settlement(before)

    def _hold_settlement(self, before: FileStop) -> None:
        """The row is claimed, and whoever has it stops before it publishes."""
        before.wait()
        self._stop = stop_at(self._system, SETTLE, self.id)
        before.clear()

    # --- And away from it ---

    def look(self) -> AtDeath:
        """What is to be seen just now."""
        row = row_of(self._system, self.id)
        return AtDeath(
            row["state"],
            owed=row["kind"] is not None and row["wake_at"] is not None,
            claimed=row["claim"] is not None,
            attempt=row["attempt"],
            backend=backend_state(self._system, self.id),
            published=self._system.queue_length(f"next-{self.point.name}"),
            next_row=self._find_next_row(),
        )

    def _find_next_row(self) -> str | None:
        if self.point.next_task != "ask":
            return None
        state: str = row_of(self._system, self.next_id)["state"]
        return state

    def clear(self) -> None:
        """Nothing stops at the point any more."""
        self._system.write(f"go-{self.point.name}")
        if self._stop is not None:
            self._stop.clear(is_outlived=self.point.is_outlived)

    def try_to_finish(self, successor: Worker) -> End | Exception:
        """As :meth:`finish`; what goes wrong is this job's alone."""
        try:
            return self.finish(successor)
        except Exception as exc:  # noqa: BLE001 - raised again by the point's test
            return exc

    def finish(self, successor: Worker) -> End:
        """Say what is still to be said from outside, and wait for the end."""
        system, name = self._system, self.point.name
        end = self._combination.end_of(self.point)
        if name == "after_park" and self._combination.is_redelivered:
            # It was not acked. This delivery, its second, comes to nothing.
            wait_for(
                lambda: system.count("delivered", self.id) == 2, what="the message to come again"
            )
        if self.point.at_death.state in states.OPEN_STATES and end.state == states.SUCCESS:
            parked = system.wait_attempt(self.id, self.point.at_death.attempt)
            system.external.signal_succeeded(parked, name, attempt=parked.attempt)
        if self.point.next_task == "ask":
            system.external.signal_succeeded(system.wait_parked(self.next_id), name)
            system.wait_settled(self.next_id)
            assert system.count("triggers", self.next_id) == 1
        job = system.wait_settled(self.id)
        if name == "told" and self._combination.acks == "late_once":
            # The resume that was not acked came again, and Celery did not call the task.
            successor.wait_for_log(f"[{self.id}] Task already completed successfully.")
        if end.state == states.SUCCESS:
            assert system.app.AsyncResult(self.next_id).get(timeout=30) == name
        wait_for(
            lambda: deliveries(system, self.next_id) >= end.next_steps,
            what=f"{end.next_steps} deliveries of the step after {name}",
        )
        return End(
            job.state,
            backend_state(system, self.id),
            triggers=system.lines("started").count(name),
            next_steps=deliveries(system, self.next_id),
            errbacks=system.count("errbacks", self.id),
            reason="" if self.point.is_outlived else (job.reason or "").partition(":")[0],
        )


def play(combination: Combination, system: System) -> Mapping[str, Seen]:
    """Kill a worker with a job at each point, and have another one carry on."""
    played = [Played(system, combination, point) for point in combination.points]
    with ExitStack() as stack:
        gate = stack.enter_context(Gate(system.env["BROKER_URL"], HELD))
        workers = make_workers(combination, system, gate)
        for one in played:
            one.start()
        for worker in workers:
            stack.enter_context(worker)
        for one in played:
            one.bring(gate)
        before = [one.look() for one in played]
        kill(combination, workers)
        if combination.dies == "whole":
            assert [one.look() for one in played] == before
        for one in played:
            one.clear()
        successor = stack.enter_context(make_successor(combination, system))
        seen = {
            one.point.name: Seen(at_death, one.try_to_finish(successor))
            for one, at_death in zip(played, before, strict=True)
        }
        if not any(isinstance(one.end, Exception) for one in seen.values()):
            check_that_nothing_is_left(system)
    return seen


def make_workers(combination: Combination, system: System, gate: Gate) -> list[Worker]:
    """Those that are to die. They do not sweep, and take none of the next steps."""
    env = with_conf(system, **combination.conf, **GRACE, broker_transport_options=CONFIRM)
    env["BROKER_URL"] = gate.url
    names = [point.name for point in combination.points]
    shares = [[name] for name in names] if combination.pool == "solo" else [names]
    return [
        Worker(APP, env=env, pool=combination.pool, concurrency=len(share) + 2, queues=share)
        for share in shares
    ]


def make_successor(combination: Combination, system: System) -> Worker:
    """The worker after them, which takes everything, and sweeps."""
    names = [point.name for point in combination.points]
    # Who has only lost its children says itself what becomes of what they had taken.
    is_restored = combination.broker == "Valkey" and combination.dies == "whole"
    options = VISIBILITY if is_restored else CONFIRM
    env = with_conf(
        system, **combination.conf, **GRACE, **SWEEPING, broker_transport_options=options
    )
    queues = [*names, *(f"next-{name}" for name in names)]
    return Worker(APP, env=env, concurrency=2, queues=queues)


def kill(combination: Combination, workers: list[Worker]) -> None:
    """SIGKILL; on return the dead are gone."""
    for worker in workers:
        if combination.dies == "whole":
            kill_now(worker)
        else:
            kill_children(worker)
