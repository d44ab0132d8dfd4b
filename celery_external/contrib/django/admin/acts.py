"""What may be done to jobs from the admin: each act by a right of its own, never by a raw save."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from celery_external import states


@dataclass(frozen=True, slots=True)
class Target:
    """A job and the attempt of it that was shown to whoever decides."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Act:
    """One act.

    Attributes:
        name: In URLs, and for :func:`celery_external.acting.act`.
        title: Of buttons and of the page that asks.
        right: The permission that it needs, ``celery_external.<right>_job``.
        done: What has become of a job then.
        states: Of the jobs that it may count for.
        asks: Which inputs the page has beside the reason: ``answer``, ``deadline`` or none.
        needs_reason: The reason is what the job fails with.
    """

    name: str
    title: str
    right: str
    done: str
    states: frozenset[str]
    asks: str | None = None
    needs_reason: bool = False


_OPEN = states.OPEN_STATES

ACTS: Mapping[str, Act] = {
    act.name: act
    for act in (
        Act("approve", "Approve", "decide", "approved", _OPEN, asks="answer"),
        Act("decline", "Decline", "decide", "declined", _OPEN, needs_reason=True),
        Act("cancel", "Cancel", "cancel", "cancelled", _OPEN),
        Act("rerun", "Rerun", "rerun", "started again", states.RERUN_STATES),
        Act("extend", "Extend", "extend", "given another deadline", _OPEN, asks="deadline"),
    )
}
