"""What had to follow in a canvas, and did; what did not is ours, or Celery's own loss.

A step that an external one must start is ours to answer for until the broker has taken its message:
Celery says so where it publishes. What an ordinary step had to start is Celery's.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from celery_external import Job, states
from tests.soak.kinds import Kind
from tests.soak.notes import Notes

Place = tuple[str, str]
Lines = list[dict[str, Any]]


@dataclass
class Unit:
    """One canvas: what the starter wrote of it, and its jobs by step."""

    name: str
    kind: Kind
    words: set[str] = field(default_factory=set)
    jobs: dict[str, Job] = field(default_factory=dict)


class Steps:
    """What the steps of a soak wrote down, and what is missing."""

    def __init__(self, notes: Notes) -> None:
        self.faults: list[str] = []
        self.counts: Counter[str] = Counter()
        #: What Celery lost, next to our jobs and in the control canvases.
        self.of_celery: Counter[str] = Counter()
        self._ran = by_place(notes.read("ran"))
        self._published = by_place(notes.read("published"))
        self._failed = by_place(notes.read("failed"))
        # A chord that an external step gave up has no excuse.
        self._given_up = {line["unit"] for line in notes.read("chords") if not line["external"]}
        for place, lines in self._ran.items():
            self._count(place, lines)

    def _count(self, place: Place, lines: Lines) -> None:
        self.counts["steps that ran"] += 1
        if len(lines) > 1:
            self.counts["steps that ran more than once"] += 1
        if len({line["id"] for line in lines}) > 1:
            self.faults.append(f"{place} ran again as another task: {lines}")

    def check(self, unit: Unit) -> None:
        """Go through a canvas, from each step to what must follow it."""
        for step, following in unit.kind.then.items():
            if step in unit.jobs:
                self._check_after_job(unit, step, following)
            elif self._ran[unit.name, step]:
                self._check_after_ordinary(unit, step, following)
        for step, job in unit.jobs.items():
            self._check_errback(unit, step, job)
        if "started" in unit.words:
            if unit.kind.is_control:
                self._check_first_steps(unit)
            if unit.kind.members:
                self._check_chord(unit)

    def _lose(self, unit: Unit, what: str) -> None:
        where = "control" if unit.kind.is_control else "beside ours"
        self.of_celery[f"{where}: {what}"] += 1

    # --- Chains and links ---

    def _check_after_job(self, unit: Unit, step: str, following: str) -> None:
        job, place = unit.jobs[step], (unit.name, following)
        ran = self._ran[place]
        if job.state != states.SUCCESS:
            if ran:
                self.faults.append(f"{place} ran though {job.id} is {job.state}: {ran}")
        elif ran:
            self._check_values(place, ran, job.result)
        elif self._published[place]:
            self._lose(unit, "a message that the broker had taken never ran")
        else:
            self.faults.append(f"{place} never followed {job.id}: {job.kind}, {job.result!r}")

    def _check_values(self, place: Place, ran: Lines, wanted: Any) -> None:
        if any(line["value"] != wanted for line in ran):
            self.faults.append(f"{place} had to run with {wanted!r}: {ran}")

    def _check_after_ordinary(self, unit: Unit, step: str, following: str) -> None:
        place = unit.name, following
        if self._ran[place] or following in unit.jobs:
            return
        for line in self._failed[unit.name, step]:
            if "External" in line["problem"] or "Unavailable" in line["problem"]:
                self.faults.append(f"{place}: we made the step before it fail: {line}")
        if any(line["row"] for line in self._published[place]):
            self.faults.append(f"{place} had a row, which is gone")
        elif self._published[place]:
            self._lose(unit, "a message that the broker had taken never ran")
        elif self._failed[unit.name, step]:
            self._lose(unit, "a step failed because the next could not be published")
        else:
            self._lose(unit, "a step was killed before it published the next")

    def _check_first_steps(self, unit: Unit) -> None:
        for step in unit.kind.members or ("x",):
            if not self._ran[unit.name, step]:
                self._lose(unit, "a message that the broker had taken never ran")

    def _check_errback(self, unit: Unit, step: str, job: Job) -> None:
        place = unit.name, f"{step}!"
        if job.state == states.SUCCESS and self._ran[place]:
            self.faults.append(f"{place} ran though {job.id} succeeded: {self._ran[place]}")
        elif job.state != states.SUCCESS and not self._ran[place]:
            self.faults.append(f"{place} never ran: {job.id} is {job.state}, {job.kind}")

    # --- Chords ---

    def _check_chord(self, unit: Unit) -> None:
        failed = any(job.state != states.SUCCESS for job in unit.jobs.values())
        body, errback = (unit.name, "body"), (unit.name, "body!")
        if self._ran[body]:
            if failed:
                self.faults.append(f"{body} ran though a member failed")
            else:
                self._check_values(body, self._ran[body], list(self._results(unit)))
        elif failed and self._ran[errback]:
            return
        elif self._published[body]:
            self._lose(unit, "a message that the broker had taken never ran")
        elif self._is_excused(unit):
            self._lose(unit, "a chord whose ordinary member was lost, failed or killed")
        else:
            self.faults.append(f"the chord {unit.name} never ended: {self._describe(unit)}")

    def _results(self, unit: Unit) -> Iterator[Any]:
        before = {following: step for step, following in unit.kind.then.items()}
        for member in unit.kind.members:
            job = unit.jobs.get(before.get(member, member))
            yield job.result if job is not None else member

    def _is_excused(self, unit: Unit) -> bool:
        """Whether it may be an ordinary member that Celery lost, whose part was the last."""
        ordinary = [step for step in unit.kind.members if step not in unit.jobs]
        skipped = {
            following
            for step, following in unit.kind.then.items()
            if step in unit.jobs and unit.jobs[step].state != states.SUCCESS
        }
        # Run more than once, it was killed before: perhaps after it had claimed the chord.
        return (bool(ordinary) and unit.name in self._given_up) or any(
            len(self._ran[unit.name, step]) != 1 or self._failed[unit.name, step]
            for step in ordinary
            if step not in skipped
        )

    def _describe(self, unit: Unit) -> Mapping[str, str]:
        return {step: f"{job.id} {job.kind}" for step, job in unit.jobs.items()}


def by_place(lines: Lines) -> defaultdict[Place, Lines]:
    """The lines of each step."""
    found: defaultdict[Place, Lines] = defaultdict(list)
    for line in lines:
        found[line["unit"], line["step"]].append(line)
    return found
