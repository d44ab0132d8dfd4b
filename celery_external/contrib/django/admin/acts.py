"""What may be done to jobs from the admin: each act by a right of its own, never by a raw save."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

from celery_external import External, states

#: (id, attempt) as they were shown, what the form says, and who, in whose transaction.
Do: TypeAlias = "Callable[[External, Target, Mapping[str, Any], Mapping[str, Any]], Any]"


@dataclass(frozen=True, slots=True)
class Target:
    """A job and the attempt of it that was shown to whoever decides."""

    job_id: str
    attempt: int


@dataclass(frozen=True, slots=True)
class Act:
    """One act.

    Attributes:
        name: In URLs.
        title: Of buttons and of the page that asks.
        right: The permission that it needs, ``celery_external.<right>_job``.
        done: What has become of a job then.
        states: Of the jobs that it may count for.
        do: Does it.
        asks: Which inputs the page has beside the reason: ``answer``, ``deadline`` or none.
        needs_reason: The reason is what the job fails with.
    """

    name: str
    title: str
    right: str
    done: str
    states: frozenset[str]
    do: Do
    asks: str | None = None
    needs_reason: bool = False


def _approve(
    external: External, target: Target, said: Mapping[str, Any], who: Mapping[str, Any]
) -> Any:
    return external.signal_succeeded(
        target.job_id,
        said["result"],
        attempt=target.attempt,
        reason=said["reason"] or None,
        **who,
    )


def _decline(
    external: External, target: Target, said: Mapping[str, Any], who: Mapping[str, Any]
) -> Any:
    return external.signal_failed(target.job_id, said["reason"], attempt=target.attempt, **who)


def _cancel(
    external: External, target: Target, said: Mapping[str, Any], who: Mapping[str, Any]
) -> Any:
    return external.cancel_job(
        target.job_id, attempt=target.attempt, reason=said["reason"] or None, **who
    )


def _rerun(
    external: External, target: Target, said: Mapping[str, Any], who: Mapping[str, Any]
) -> Any:
    return external.rerun_job(
        target.job_id, attempt=target.attempt, reason=said["reason"] or None, **who
    )


def _extend(
    external: External, target: Target, said: Mapping[str, Any], who: Mapping[str, Any]
) -> Any:
    return external.extend_job(
        target.job_id,
        timeout=said["timeout"],
        deadline=said["deadline"],
        attempt=target.attempt,
        reason=said["reason"] or None,
        **who,
    )


_OPEN = states.OPEN_STATES
_OVER = frozenset({states.PARKED, states.FAILURE, states.REVOKED})

ACTS: Mapping[str, Act] = {
    act.name: act
    for act in (
        Act("approve", "Approve", "decide", "approved", _OPEN, _approve, asks="answer"),
        Act("decline", "Decline", "decide", "declined", _OPEN, _decline, needs_reason=True),
        Act("cancel", "Cancel", "cancel", "cancelled", _OPEN, _cancel),
        Act("rerun", "Rerun", "rerun", "started again", _OVER, _rerun),
        Act(
            "extend", "Extend", "extend", "given another deadline", _OPEN, _extend, asks="deadline"
        ),
    )
}
