"""The ledger of a soak: every job accounted for, in numbers and in faults."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from typing import Any

import sqlalchemy as sa

from celery_external import Job, states
from celery_external.schema import history
from tests.soak.kinds import KINDS
from tests.soak.steps import Steps, Unit
from tests.soak.words import OUTCOMES, Words
from tests.soak.world import World


class Ledger:
    """Counts, and ``faults``: what must not be. ``of_celery`` counts what Celery itself lost."""

    def __init__(self, world: World) -> None:
        self._world = world
        self.counts: Counter[str] = Counter()
        self.faults: list[str] = []
        units = read_units(world)
        for unit in units.values():
            self._count_unit(unit)
        jobs = {job.id: job for job in find_all(world)}
        for job in jobs.values():
            name, step = job.labels
            units[name].jobs[step] = job
            self._check_job(job)
        steps, words = Steps(world.notes), Words(world.notes)
        words.check(jobs, read_decisions(world))
        for unit in units.values():
            self._check_started(unit)
            steps.check(unit)
        self.of_celery = steps.of_celery
        if world.restarts:
            self.of_celery["workers that hung with messages, and were restarted"] = world.restarts
        for part in (words, steps):
            self.counts.update(part.counts)
            self.faults.extend(part.faults)

    def lines(self) -> Iterator[str]:
        """The ledger for people."""
        for name, number in self.counts.items():
            yield f"{number:8} {name}"
        yield f"{len(self.faults):8} LOST, TWICE OR WRONG"
        for name, number in sorted(self.of_celery.items()):
            yield f"{number:8} Celery's own: {name}"

    def _count_unit(self, unit: Unit) -> None:
        word = next(word for word in ("refused", "started", "intended") if word in unit.words)
        what = "control canvases" if unit.kind.is_control else "canvases"
        shown = {"intended": "whose starter was killed meanwhile", "refused": "refused"}
        self.counts[f"{what} {shown.get(word, word)}"] += 1

    def _check_started(self, unit: Unit) -> None:
        missing = set(unit.kind.first) - set(unit.jobs)
        if "started" in unit.words and missing:
            self.faults.append(f"{unit.name} was started, and has no job for {missing}")

    def _check_job(self, job: Job) -> None:
        self.counts["jobs"] += 1
        self.counts[f"jobs that ended as {job.kind}"] += 1
        self.counts["attempts"] += job.attempt
        if not job.settled:
            self.faults.append(f"{job.id} is {job.state}, {job.kind}: not settled")
        if job.kind == states.CONTINUED:
            return  # the result with its id is another task's
        meta = self._world.app.backend.get_task_meta(job.id)
        wanted = states.SUCCESS if job.state == states.SUCCESS else states.FAILURE
        if meta["status"] != wanted or (wanted == states.SUCCESS and meta["result"] != job.result):
            self.faults.append(f"{job.id} is {job.state} {job.result!r}, the backend says {meta}")


def read_units(world: World) -> Mapping[str, Unit]:
    """What the starters wrote down."""
    units: dict[str, Unit] = {}
    for line in world.notes.read("units"):
        unit = units.setdefault(line["unit"], Unit(line["unit"], KINDS[line["kind"]]))
        unit.words.add(line["word"])
    return units


def find_all(world: World) -> Iterator[Job]:
    """Every job there is."""
    after: str | None = None
    while True:
        page = world.external.find_jobs(order="created", limit=1000, after=after)
        yield from page
        after = page.next
        if after is None:
            return


def read_decisions(world: World) -> list[Mapping[str, Any]]:
    """The lines of the history by which an attempt was decided."""
    query = sa.select(history).where(history.c.event.in_(OUTCOMES)).order_by(history.c.id)
    with world.engine.connect() as connection:
        return [dict(row) for row in connection.execute(query).mappings()]
