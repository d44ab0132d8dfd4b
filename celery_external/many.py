"""Many jobs completed at once: one statement, and one Receipt for each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from . import payload, states
from .completion import cancel, hand_on, signal
from .errors import ExternalError, ResultInvalidError
from .job import Failed, Receipt, Succeeded
from .naming import JobLike, can_be_id, check_attempt, check_note, id_of
from .result_type import ResultType, check_outcome, result_types
from .store import decisions, noted, read

if TYPE_CHECKING:
    from .installation import Installation
    from .store.database import Row
    from .store.place import Place

#: A job and its outcome, and the only attempt that this may count for.
Given: TypeAlias = "tuple[JobLike, Succeeded | Failed] | tuple[JobLike, Succeeded | Failed, int]"


class _Cancelled:
    """In an outcome's place: the job is called off."""


_Outcome: TypeAlias = Succeeded | Failed | _Cancelled


class _Word(NamedTuple):
    """What is said of one job."""

    job_id: str
    outcome: _Outcome
    attempt: int | None


def signal_many(
    installation: Installation,
    outcomes: Iterable[Given],
    *,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> list[Receipt]:
    """Record many outcomes in one statement; a refused one is a Receipt with an ``error``."""
    words = [_word(job, outcome, rest[0] if rest else None) for job, outcome, *rest in outcomes]
    return _decide(installation, words, by=by, reason=reason, using=using)


def cancel_many(
    installation: Installation,
    jobs: Iterable[tuple[JobLike, int | None]],
    *,
    by: str | None = None,
    reason: str | None = None,
    using: Any = None,
) -> list[Receipt]:
    """Call off many jobs, each of the attempt that is named with it, likewise."""
    called_off = _Cancelled()
    words = [_word(job, called_off, attempt) for job, attempt in jobs]
    return _decide(installation, words, by=by, reason=reason, using=using)


def _word(job: JobLike, outcome: _Outcome, attempt: int | None) -> _Word:
    check_attempt(attempt)
    return _Word(id_of(job), outcome, attempt)


def _decide(
    installation: Installation,
    given: Sequence[_Word],
    *,
    by: str | None,
    reason: str | None,
    using: Any,
) -> list[Receipt]:
    by, note, place = check_note("by", by), check_note("reason", reason), installation.place(using)
    prepared = _prepare_many(installation, place, given, note)
    first: dict[str, int] = {}
    for index, word in enumerate(given):
        first.setdefault(word.job_id, index)
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
        else _decide_alone(installation, word, by=by, note=note, using=using)
        for index, word in enumerate(given)
    ]


def _prepare_many(
    installation: Installation, place: Place, given: Sequence[_Word], note: str | None
) -> list[tuple[str, int | None, Row] | None]:
    """Job, attempt and columns of each; None for one that must be looked at alone."""
    types = result_types(installation.app)
    rows: Mapping[str, Row] = {}
    if types:
        with place.alone() as tx:
            ids = {word.job_id for word in given if can_be_id(word.job_id)}
            rows = read.find_tasks(tx, installation.namespace, sorted(ids))
    encode = _encoder(installation, note)
    return [_prepare(types, rows, word, encode) for word in given]


def _encoder(installation: Installation, note: str | None) -> Callable[[_Outcome], Row]:
    """What makes columns of outcomes; what is the same for job after job is found out once."""
    app = installation.app
    serializer = app.conf.result_serializer
    last: _Outcome | None = None
    columns: Row | None = None

    def encode(outcome: _Outcome) -> Row:
        nonlocal last, columns
        if columns is not None and outcome is last:
            return columns
        if isinstance(outcome, _Cancelled):
            columns = payload.outcome_columns(states.CANCELLED, reason=note)
        else:
            columns = payload.encode_outcome(app, outcome, note=note, serializer=serializer)
        last = outcome
        return columns

    return encode


def _prepare(
    types: Mapping[str, ResultType],
    rows: Mapping[str, Row],
    word: _Word,
    encode: Callable[[_Outcome], Row],
) -> tuple[str, int | None, Row] | None:
    outcome, attempt = word.outcome, word.attempt
    if types and isinstance(outcome, Succeeded):
        try:
            row = rows[word.job_id]
            outcome = check_outcome(types, row, outcome)
        except (KeyError, ResultInvalidError):
            return None
        if attempt not in {None, row["attempt"]}:
            return None
        attempt = row["attempt"]
    encoded = encode(outcome)
    return (word.job_id, attempt, encoded) if can_be_id(word.job_id) else None


def _decide_alone(
    installation: Installation, word: _Word, *, by: str | None, note: str | None, using: Any
) -> Receipt:
    said: Mapping[str, Any] = {"attempt": word.attempt, "by": by, "reason": note, "using": using}
    try:
        # Alone it may count after all: between the two statements a new attempt may have begun.
        if isinstance(word.outcome, _Cancelled):
            return cancel(installation, word.job_id, **said)
        return signal(installation, word.job_id, word.outcome, **said)
    except ExternalError as exc:
        return Receipt(word.job_id, attempt=0, status="refused", error=exc)
