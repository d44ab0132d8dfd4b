"""``succeed``, ``fail``, ``cancel``, ``rerun`` and ``extend``: what may be done to jobs."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import click

from celery_external import many, states
from celery_external.extension import External
from celery_external.installation import installation_of
from celery_external.job import Failed, Receipt, Succeeded
from celery_external.login import login_name

from .command import Command, pass_external
from .deciding import SMALL_BATCH, decide_all, one_by_one
from .selection import Chosen, choose, selection_options
from .values import Json, Moment, Span

_by = click.option(
    "--by",
    default=login_name,
    show_default="your login name",
    metavar="TEXT",
    help="Who says so, for the history.",
)
_reason = click.option("--reason", metavar="TEXT", help="Why, for the history.")


@click.command("succeed", cls=Command)
@selection_options(states.PARKED)
@click.option("--result", type=Json(), default=None, help="What the task returns.  [default: null]")
@_reason
@_by
@pass_external
def succeed(
    external: External, /, *, result: Any, reason: str | None, by: str | None, **given: Any
) -> None:
    """Say that the outside work has succeeded: the task returns --result.

    With filters it asks before it does anything.
    """
    chosen = choose(external, "succeed", states.PARKED, given)

    def decide(part: Sequence[Chosen]) -> list[Receipt]:
        return external.signal_many(_words(part, Succeeded(result)), by=by, reason=reason)

    decide_all(chosen, decide, done="succeeded")


@click.command("fail", cls=Command)
@selection_options(states.PARKED)
@click.option("--reason", metavar="TEXT", required=True, help="Why: what the task raises.")
@_by
@pass_external
def fail(external: External, /, *, reason: str, by: str | None, **given: Any) -> None:
    """Say that the outside work has failed: the task raises ExternalJobFailed with --reason.

    With filters it asks before it does anything.
    """
    chosen = choose(external, "fail", states.PARKED, given)

    def decide(part: Sequence[Chosen]) -> list[Receipt]:
        return external.signal_many(_words(part, Failed(reason)), by=by)

    decide_all(chosen, decide, done="failed")


def _words(chosen: Sequence[Chosen], outcome: Succeeded | Failed) -> list[many.Given]:
    return [
        (one.id, outcome) if one.attempt is None else (one.id, outcome, one.attempt)
        for one in chosen
    ]


@click.command("cancel", cls=Command)
@selection_options(states.PARKED)
@_reason
@_by
@pass_external
def cancel(external: External, /, *, reason: str | None, by: str | None, **given: Any) -> None:
    """Call jobs off: the task raises ExternalJobCancelled and is never retried.

    With filters it asks before it does anything.
    """
    chosen = choose(external, "cancel", states.PARKED, given)

    def decide(part: Sequence[Chosen]) -> list[Receipt]:
        jobs = [(one.id, one.attempt) for one in part]
        return many.cancel_many(installation_of(external.app), jobs, by=by, reason=reason)

    decide_all(chosen, decide, done="cancelled")


@click.command("rerun", cls=Command)
@selection_options(states.FAILURE)
@_reason
@_by
@pass_external
def rerun(external: External, /, *, reason: str | None, by: str | None, **given: Any) -> None:
    """Run the trigger again, as a new attempt: of jobs that are PARKED, FAILURE or REVOKED.

    With filters it asks before it does anything.
    """
    chosen = choose(external, "rerun", states.FAILURE, given)
    decide = one_by_one(
        lambda one: external.rerun_job(one.id, attempt=one.attempt, by=by, reason=reason)
    )
    decide_all(chosen, decide, done="started again", batch=SMALL_BATCH)


@click.command("extend", cls=Command)
@selection_options(states.PARKED)
@click.option("--timeout", type=Span(), help="So long from now, by the database's clock.")
@click.option("--deadline", type=Moment(is_relative=False), help="At this time.")
@_reason
@_by
@pass_external
def extend(
    external: External,
    /,
    *,
    timeout: timedelta | None,
    deadline: datetime | None,
    reason: str | None,
    by: str | None,
    **given: Any,
) -> None:
    """Move the deadline of open jobs, either way: give --timeout or --deadline.

    With filters it asks before it does anything.
    """
    if (timeout is None) == (deadline is None):
        raise click.UsageError("Give either --timeout or --deadline")
    chosen = choose(external, "extend", states.PARKED, given)
    decide = one_by_one(
        lambda one: external.extend_job(
            one.id, timeout=timeout, deadline=deadline, attempt=one.attempt, by=by, reason=reason
        )
    )
    decide_all(chosen, decide, done="extended", batch=SMALL_BATCH)
