"""The same done to many jobs: in batches, with a progress bar, and every refusal told."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import click

from celery_external.errors import DatabaseUnavailableError, ExternalError, OptionError
from celery_external.job import Receipt

from .selection import Chosen
from .terminal import progress, tell, write
from .texts import number_of, one_line

#: Jobs decided in one statement, and in one go where each has its own.
BATCH = 1000
SMALL_BATCH = 20


@dataclass(slots=True)
class Tally:
    """How many jobs were done, had been before, and were refused."""

    done: int = 0
    same: int = 0
    refused: int = 0

    def add(self, receipt: Receipt) -> None:
        """Count one, and tell of a refusal."""
        if receipt.error is not None:
            self.refused += 1
            tell(f"Error: {one_line(receipt.error)}")
        elif receipt.status == "applied":
            self.done += 1
        else:
            self.same += 1

    def in_words(self, done: str) -> str:
        """Such as ``2 jobs succeeded, 1 had before, 1 refused``."""
        same = [f"{self.same:,} had before"] if self.same else []
        refused = [f"{self.refused:,} refused"] if self.refused else []
        return ", ".join([f"{number_of(self.done)} {done}", *same, *refused])


def decide_all(
    chosen: Sequence[Chosen],
    decide: Callable[[Sequence[Chosen]], list[Receipt]],
    *,
    done: str,
    batch: int = BATCH,
) -> None:
    """Do it to all, say how it went, and end with 1 if any was refused."""
    if not chosen:
        return
    tally = Tally()
    with progress(done.capitalize(), len(chosen)) as advance:
        for start in range(0, len(chosen), batch):
            part = chosen[start : start + batch]
            try:
                receipts = decide(part)
            except (ExternalError, KeyboardInterrupt):
                _tell_how_far(tally, start, len(chosen), done)
                raise
            for receipt in receipts:
                tally.add(receipt)
            advance(len(part))
    write(tally.in_words(done))
    if tally.refused:
        click.get_current_context().exit(1)


def one_by_one(
    decide: Callable[[Chosen], object],
) -> Callable[[Sequence[Chosen]], list[Receipt]]:
    """For what is done to one job at a time: its error is the job's own refusal."""

    def decide_each(chosen: Sequence[Chosen]) -> list[Receipt]:
        return [_decide_one(decide, one) for one in chosen]

    return decide_each


def _decide_one(decide: Callable[[Chosen], object], one: Chosen) -> Receipt:
    try:
        decide(one)
    except (DatabaseUnavailableError, OptionError):
        raise  # the next job would have the same
    except ExternalError as exc:
        return Receipt(one.id, attempt=0, status="refused", error=exc)
    return Receipt(one.id, attempt=one.attempt or 0, status="applied")


def _tell_how_far(tally: Tally, start: int, total: int, done: str) -> None:
    if start:
        tell(f"Of {number_of(total)} the first {start:,} were looked at: {tally.in_words(done)}")
