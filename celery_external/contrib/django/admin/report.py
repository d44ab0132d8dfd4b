"""What somebody is told after an act: what became of the jobs, and what did not."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from django.contrib import messages

from celery_external.errors import DatabaseUnavailableError, ExternalError

from .acts import Act, Target

#: Refusals and jobs that are told in words; of the others, how many.
MAX_NAMED = 10


@dataclass(frozen=True, slots=True)
class Stop:
    """The database went away in the middle.

    Attributes:
        error: How.
        target: The job that it was at.
        is_unsure: It was at the commit, of which the answer is missing.
        left: The jobs behind it, which nobody has tried.
    """

    error: DatabaseUnavailableError
    target: Target
    is_unsure: bool
    left: Sequence[Target]


@dataclass(slots=True)
class Report:
    """What has become of each job so far."""

    act: Act
    done: list[Target] = field(default_factory=list)
    repeated: int = 0
    refused: list[ExternalError] = field(default_factory=list)
    stop: Stop | None = None

    def count(self, target: Target, word: str) -> None:
        """Take note of one that is committed: applied, or duplicate."""
        if word == "applied":
            self.done.append(target)
        self.repeated += word == "duplicate"

    def tell(self) -> Iterator[tuple[int, str]]:
        """The messages, each with its level."""
        did = self.act.done
        if self.done:
            # Of a selection that was done to its end nobody needs the names.
            names = f": {_name(self.done)}" if self.stop else ""
            yield messages.SUCCESS, f"{_jobs(len(self.done))} {did}{names}."
        if self.repeated:
            yield messages.INFO, f"{_jobs(self.repeated)} {did} before, with the same words."
        for error in self.refused[:MAX_NAMED]:
            yield messages.ERROR, str(error)
        if len(self.refused) > MAX_NAMED:
            yield messages.ERROR, f"{_jobs(len(self.refused) - MAX_NAMED)} refused likewise."
        if self.stop:
            yield from _tell_stop(self.stop, did)


def _tell_stop(stop: Stop, did: str) -> Iterator[tuple[int, str]]:
    job = stop.target.job_id
    what = (
        f"It is not known whether job {job} was {did}, please look at it"
        if stop.is_unsure
        else f"Job {job} was not {did}"
    )
    # Not the error's own words, which say that nothing was recorded.
    yield messages.ERROR, f"{what}: the database is not available: {stop.error.problem}"
    if stop.left:
        yield messages.ERROR, f"{_jobs(len(stop.left))} not tried: {_name(stop.left)}."


def _name(targets: Sequence[Target]) -> str:
    names = ", ".join(target.job_id for target in targets[:MAX_NAMED])
    return f"{names} and {len(targets) - MAX_NAMED:,} more" if len(targets) > MAX_NAMED else names


def _jobs(number: int) -> str:
    return "1 job was" if number == 1 else f"{number:,} jobs were"
