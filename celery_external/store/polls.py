"""Polls of parked jobs: the sweep begins them, a worker takes them and says when the next is.

``poll_at`` is when a poll is due. It stays until a worker has taken the poll, whatever the sweep
sends meanwhile: of the messages that name it one counts, however late it comes.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import sqlalchemy as sa

from celery_external import states
from celery_external.schema import history, job

from .database import Row, Statement, Transaction
from .noted import HISTORY_COLUMNS, ROW, c, next_poll, p, params, these_jobs, this_attempt
from .sql import earliest, now, seconds_from_now

_parked = c.state == states.PARKED
_limits = earliest(c.deadline, c.due_at)


def _at_least(name: str) -> sa.Case[float]:
    """The job's interval, or the parameter where that is longer; NULL: it is not polled."""
    seconds = p(name, sa.Float())
    return sa.case((c.poll_interval < seconds, seconds), else_=c.poll_interval)


# --- The sweep ------------------------------------------------------------------------------------

_BEGIN = Statement(
    lambda _: (
        sa.update(job)
        .where(these_jobs, _parked)
        .values(wake_at=earliest(_limits, next_poll(seconds_from_now(_at_least("patience")))))
        .returning(
            c.id, c.task, c.attempt, c.poll_at, c.envelope, (c.poll_at <= now()).label("is_due")
        )
    )
)


def begin(tx: Transaction, namespace: str, ids: Sequence[str], patience: float) -> list[Row]:
    """The jobs of these whose task is to be asked, if it can be told; it is told once more later.

    ``patience``: not before so many seconds, for the first message still counts then.
    """
    rows = tx.all(_BEGIN, p_namespace=namespace, p_ids=list(ids), p_patience=patience)
    return [row for row in rows if row["is_due"]]


# --- The worker that asks -------------------------------------------------------------------------

_KEY: dict[str, sa.types.TypeEngine[Any]] = {
    "id": sa.Text(),
    "attempt": sa.Integer(),
    "poll_at": sa.DateTime(timezone=True),
}


def _each(values: Mapping[str, Any]) -> Statement:
    """An UPDATE of jobs that are parked as their keys say; locked ones are passed over.

    Nobody waits for a person who looks at a job (``lock_job``), or for many signals at once.
    """

    def build(dialect: str) -> Any:
        if dialect != "postgresql":
            guard = sa.and_(this_attempt, _parked, c.poll_at == p("poll_at", c.poll_at.type))
        else:
            guard = sa.and_(c.namespace == p("namespace"), c.id.in_(sa.select(_locked().c.id)))
        return sa.update(job).where(guard).values(**values).returning(*ROW)

    return Statement(build)


def _locked() -> sa.CTE:
    arrays = {name: p(f"keys_{name}", sa.ARRAY(type_)) for name, type_ in _KEY.items()}
    columns: list[Any] = [sa.column(name, type_) for name, type_ in _KEY.items()]
    given = sa.func.unnest(*arrays.values()).table_valued(*columns, name="given").render_derived()
    parked = job.alias("parked")
    return (
        sa.select(parked.c.id)
        .where(
            parked.c.namespace == p("namespace"),
            parked.c.state == states.PARKED,
            # Said by itself, it is looked up by the primary key, whatever the statistics are.
            parked.c.id == sa.any_(arrays["id"]),
            *(parked.c[name] == given.c[name] for name in _KEY),
        )
        .with_for_update(of=parked, skip_locked=True)
        .cte("locked")
    )


def _update(
    tx: Transaction, statement: Statement, namespace: str, keys: Iterable[Row], **values: Any
) -> list[Row]:
    named = [{name: key[name] for name in _KEY} for key in keys]
    if tx.dialect.name == "postgresql":
        arrays = {f"keys_{name}": [key[name] for key in named] for name in _KEY}
        return tx.all(statement, **params(namespace=namespace, **arrays, **values))
    rows = (tx.one(statement, **params(namespace=namespace, **key, **values)) for key in named)
    return [row for row in rows if row is not None]


_grown = c.poll_interval * p("backoff", sa.Float())
_longest = p("longest", sa.Float())
_after_lease = seconds_from_now(_at_least("lease"))
_TAKE = _each(
    {
        "poll_interval": sa.case((_grown > _longest, _longest), else_=_grown),
        "poll_at": _after_lease,
        "wake_at": earliest(_limits, _after_lease),
    }
)


def take(
    tx: Transaction,
    namespace: str,
    keys: Iterable[Row],
    *,
    backoff: float,
    longest: float,
    lease: float,
) -> list[Row]:
    """The jobs that are this worker's to ask for, with their next interval.

    ``keys``: id, attempt and ``poll_at`` of each, as :func:`begin` gave them. While the poller
    runs nobody else asks; should its worker die, somebody does after the lease.
    """
    return _update(tx, _TAKE, namespace, keys, backoff=backoff, longest=longest, lease=lease)


_after_interval = seconds_from_now(c.poll_interval)
_END = _each({"poll_at": _after_interval, "wake_at": earliest(_limits, _after_interval)})


def end(tx: Transaction, namespace: str, taken: Iterable[Row]) -> None:
    """The poller is done: those that :func:`take` gave and that wait on have their next poll."""
    _update(tx, _END, namespace, taken)


_STOP = _each({"poll_at": None, "poll_interval": None, "wake_at": _limits})


def stop(tx: Transaction, namespace: str, keys: Iterable[Row]) -> list[Row]:
    """The task is not asked any more."""
    return _update(tx, _STOP, namespace, keys)


_NOTE_FAILED = Statement(
    lambda _: sa.insert(history).from_select(
        HISTORY_COLUMNS,
        sa.select(
            c.namespace,
            c.id,
            c.attempt,
            sa.literal("poll_failed", sa.Text()),
            p("by", sa.Text()),
            p("reason", sa.Text()),
            sa.null(),
            now(),
        ).where(these_jobs, c.attempt == p("attempt")),
    )
)


def note_failed(
    tx: Transaction, namespace: str, attempts: Iterable[tuple[str, int]], *, by: str, reason: str
) -> None:
    """A line in the history of each of these attempts of jobs, in few statements."""
    ids: dict[int, list[str]] = defaultdict(list)
    for job_id, attempt in attempts:
        ids[attempt].append(job_id)
    for attempt, of_attempt in ids.items():
        tx.all(
            _NOTE_FAILED,
            **params(namespace=namespace, ids=of_attempt, attempt=attempt, by=by, reason=reason),
        )
