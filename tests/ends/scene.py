"""Jobs whose ends are staged: what each is to do, where it stands, and what came of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import pytest

from celery_external import ExternalTask, Job
from tests.processes import Worker
from tests.systems import System
from tests.waiting import wait_for

LONG_AGO = "2020-01-01 00:00:00.000000"
MAKE_DUE = "UPDATE celery_external_job SET wake_at = :then WHERE id = :id AND wake_at IS NOT NULL"
MAKE_LATE = "UPDATE celery_external_job SET deadline = :then WHERE id = :id"

#: Each database with one of the ways to ack; the two lists take turns.
EARLY_ON_SQLITE = pytest.mark.parametrize(
    ("scene", "task"), [("sqlite", "act"), ("postgresql", "act_late")], indirect=["scene"]
)
LATE_ON_SQLITE = pytest.mark.parametrize(
    ("scene", "task"), [("sqlite", "act_late"), ("postgresql", "act")], indirect=["scene"]
)


@dataclass(frozen=True)
class Ended:
    """How a job ended: by the row, by the result backend, and by what was called."""

    state: str
    kind: str | None
    backend: str
    error: str | None
    steps: int
    errbacks: int


def succeeded() -> Ended:
    """What all agree on after a success."""
    return Ended("SUCCESS", "succeeded", "SUCCESS", error=None, steps=1, errbacks=0)


def failed(error: str, *, kind: str = "failed", state: str = "FAILURE") -> Ended:
    """What all agree on after a failure."""
    return Ended(state, kind, "FAILURE", error=error, steps=0, errbacks=1)


def lost() -> Ended:
    """What all agree on when the trigger's process is gone."""
    return failed("TriggerLostError", kind="lost")


def cancelled() -> Ended:
    """What all agree on when the job was called off."""
    return failed("ExternalJobCancelled", kind="cancelled", state="REVOKED")


class Act:
    """One job with a next step and an errback, known by its name in what the tasks write."""

    def __init__(self, scene: Scene, name: str, result: Any) -> None:
        self.scene = scene
        self.name = name
        self.result = result

    @property
    def id(self) -> str:
        """The job's id."""
        job_id: str = self.result.id
        return job_id

    @property
    def job(self) -> Job:
        """The job as it stands."""
        return self.scene.system.get(self.id)

    def wait_parked(self) -> Job:
        """Wait until it has parked."""
        return self.scene.system.wait_parked(self.id)

    def wait_held(self, place: str) -> None:
        """Wait until it holds at a place of its plan."""
        held = f"{self.name}-{place}"
        wait_for(lambda: held in self.scene.system.lines("holding"), what=f"{held} to be reached")

    def go_on(self, place: str) -> None:
        """Let it go on from there."""
        self.scene.system.write(f"go-{self.name}-{place}")

    def count(self, file: str) -> int:
        """How many lines of a file are about it."""
        lines = self.scene.system.lines(file)
        return sum(line.split(" ")[0] == self.name for line in lines)

    def succeed(self, result: Any = "signalled") -> None:
        """Signal a success."""
        assert self.scene.system.external.signal_succeeded(self.id, result).status == "applied"

    def time_out(self) -> None:
        """Have it time out."""
        self.scene.system.external.extend_job(self.id, timeout=60)
        self.scene.system.execute(MAKE_LATE, then=LONG_AGO, id=self.id)
        self.let_time_pass()

    def let_time_pass(self) -> None:
        """Whatever the row waits for is due, and a sweep sees it."""
        self.scene.system.execute(MAKE_DUE, then=LONG_AGO, id=self.id)
        self.scene.system.external.sweep()

    def ended(self) -> Ended:
        """How it ended, when all that was sent is done."""
        job = self.scene.system.wait_settled(self.id)
        self.scene.barrier()
        errors: set[str] = {
            line.split(" ")[1]
            for line in self.scene.system.lines("errbacks")
            if line.split(" ")[0] == self.name
        }
        seen: Any = self.scene.system.app.AsyncResult(self.id)
        if seen.state == "FAILURE":
            errors.add(type(seen.result).__name__)
        assert self.scene.system.get(self.id) == job
        return Ended(
            job.state,
            job.kind,
            seen.state,
            error=" or ".join(sorted(errors)) or None,
            steps=self.count("steps"),
            errbacks=self.count("errbacks"),
        )


class Scene:
    """A system and its worker, on which jobs are staged."""

    def __init__(self, system: System, worker: Worker) -> None:
        self.system = system
        self.worker = worker

    def start(
        self,
        door: str = "park",
        *,
        task: str = "act",
        plan: Mapping[str, str] | None = None,
        step: Mapping[str, str] | None = None,
        stamp: str | None = None,
        **options: Any,
    ) -> Act:
        """Start a job: what it does at the places of ``plan``, and by which door it leaves."""
        name = uuid4().hex[:8]
        kwargs = {"name": name, "plan": plan or {}, "door": door}
        act: ExternalTask = self.system.task(task)
        stamps: dict[str, Any] = {"stamped_headers": [stamp], stamp: name} if stamp else {}
        result = act.apply_async(
            kwargs=kwargs,
            **stamps,
            link=self.system.task("note_success").s(job_name=name, **(step or {})),
            link_error=self.system.task("note_failure").s(job_name=name),
            **options,
        )
        return Act(self, name, result)

    def barrier(self) -> None:
        """Return when all that was sent before has been taken, and done: there is one child."""
        word = uuid4().hex
        assert self.system.task("say").delay(word).get(timeout=30) == word

    def revoke_stamped(self, name: str, value: str, **options: Any) -> None:
        """Revoke what carries a stamp."""
        self.system.app.control.revoke_by_stamped_headers({name: [value]}, **options)  # type: ignore[dict-item]

    def read_queue(self, name: str) -> None:
        """Have the worker take messages from one more queue."""
        control: Any = self.system.app.control
        assert control.add_consumer(
            name, destination=[self.worker.hostname], reply=True, limit=1, timeout=20
        )

    def barrier_of_control(self) -> None:
        """Return when the worker has done what it was told by remote control before."""
        assert self.system.app.control.ping([self.worker.hostname], timeout=20, limit=1)

    def occupy(self) -> str:
        """Keep the only child busy; what comes then waits in the worker."""
        name = uuid4().hex
        self.system.task("occupy").delay(name)
        wait_for(lambda: name in self.system.lines("holding"), what="the child to be busy")
        return name

    def inspect(self) -> Any:
        """Ask the worker what it is doing."""
        return self.system.app.control.inspect([self.worker.hostname], limit=1, timeout=20)

    def wait_reserved(self, act: Act) -> None:
        """Wait until the worker has a message of the job, and no child for it."""

        def is_reserved() -> bool:
            found: Any = self.inspect().query_task(act.id)
            states = [state for jobs in (found or {}).values() for state, _ in jobs.values()]
            return states == ["reserved"]

        wait_for(is_reserved, what=f"job {act.id} to be reserved")
