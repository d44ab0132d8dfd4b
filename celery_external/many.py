"""Many jobs completed at once: one statement, and one Receipt for each."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from . import payload
from .completion import hand_on, signal
from .errors import ExternalError, ResultInvalidError
from .job import Failed, Receipt, Succeeded
from .naming import JobLike, can_be_id, check_note, id_of
from .result_type import ResultType, check_outcome, result_types
from .store import decisions, noted, read

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row
    from .store.place import Place


def signal_many(
    installation: Installation,
    outcomes: Iterable[tuple[JobLike, Succeeded | Failed]],
    *,
    by: str | None = None,
    using: Any = None,
) -> list[Receipt]:
    """Record many outcomes in one statement; a refused one is a Receipt with an ``error``."""
    by, place = check_note("by", by), installation.place(using)
    given = [(id_of(job), outcome) for job, outcome in outcomes]
    prepared = _prepare_many(installation, place, given)
    first: dict[str, int] = {}
    for index, (job_id, _) in enumerate(given):
        first.setdefault(job_id, index)
    together = [one for index in first.values() if (one := prepared[index]) is not None]
    with noted.deciding(place) as tx:
        rows = decisions.decide_many(
            tx,
            namespace=installation.namespace,
            outcomes=together,
            by=by,
            wake_in=installation.settings.resume_grace,
        )
    applied = {first[receipt.job_id]: receipt for receipt in hand_on(installation, place, rows)}
    return [
        applied[index]
        if index in applied
        else _signal_alone(installation, *one, by=by, using=using)
        for index, one in enumerate(given)
    ]


def _prepare_many(
    installation: Installation, place: Place, given: Sequence[tuple[str, Succeeded | Failed]]
) -> list[tuple[str, int | None, Row] | None]:
    """Job, attempt and columns of each; None for one that must be looked at alone."""
    types = result_types(installation.app)
    rows: Mapping[str, Row] = {}
    if types:
        with place.alone() as tx:
            ids = {job_id for job_id, _ in given if can_be_id(job_id)}
            rows = read.find_tasks(tx, installation.namespace, sorted(ids))
    return [_prepare(installation, types, rows, *one) for one in given]


def _prepare(
    installation: Installation,
    types: Mapping[str, ResultType],
    rows: Mapping[str, Row],
    job_id: str,
    outcome: Succeeded | Failed,
) -> tuple[str, int | None, Row] | None:
    attempt: int | None = None
    if types and isinstance(outcome, Succeeded):
        try:
            row = rows[job_id]
            outcome, attempt = check_outcome(types, row, outcome), row["attempt"]
        except (KeyError, ResultInvalidError):
            return None
    encoded = payload.encode_outcome(installation.app, outcome)
    return (job_id, attempt, encoded) if can_be_id(job_id) else None


def _signal_alone(
    installation: Installation,
    job_id: str,
    outcome: Succeeded | Failed,
    *,
    by: str | None,
    using: Any,
) -> Receipt:
    try:
        # Alone it may count after all: between the two statements a new attempt may have begun.
        return signal(installation, job_id, outcome, by=by, using=using)
    except ExternalError as exc:
        return Receipt(job_id, attempt=0, status="refused", error=exc)
