"""What a call of an external task returns: Celery's results, whose ``revoke`` cancels the job."""

from __future__ import annotations

import logging
from typing import Any, NoReturn

from celery import Celery
from celery.result import AsyncResult, EagerResult

from . import completion, states
from .errors import EagerCanvasError, JobAlreadyCompletedError, JobNotFoundError
from .installation import Installation, installation_of
from .logs import name_job
from .naming import known_id, require_row

logger = logging.getLogger("celery_external")


class ExternalResult(AsyncResult):  # type: ignore[type-arg]  # generic from Celery 5.7 on
    """Celery's AsyncResult of an external task."""

    def revoke(
        self,
        connection: Any = None,
        terminate: bool = False,  # noqa: FBT001, FBT002 - Celery's signature
        signal: str | None = None,
        wait: bool = False,  # noqa: FBT001, FBT002
        timeout: float | None = None,
    ) -> None:
        """Cancel the job, as :meth:`External.cancel_job`; of one that is completed, do nothing.

        It has happened when this returns, whether or not a worker runs. Workers are told only
        where there is something for them to do, and the other arguments are for that.

        Arguments:
            connection: A connection to the broker to tell them by.
            terminate: A trigger that runs at this moment is killed. Otherwise it runs to its end,
                and the job is cancelled all the same. (The workers then remember the id, for three
                hours: a job that is run again within them is cancelled by them.)
            signal: By which signal. Default: TERM.
            wait: Wait for the workers' answers.
            timeout: For so long, in seconds.

        Raises:
            DatabaseUnavailableError: Nothing was cancelled.
            kombu.exceptions.OperationalError: Workers cannot be told: the broker is away.
        """
        installation = installation_of(self.app)
        try:
            is_running = _cancel(installation, self.id)
        except JobNotFoundError:
            # It may have been sent by name and not begun: Celery's word is all there is.
            super().revoke(connection, terminate, signal, wait, timeout)
            return
        if is_running and terminate:
            super().revoke(connection, terminate, signal, wait, timeout)


class ParkedResult(EagerResult):  # type: ignore[type-arg]
    """What an eager call of a parked job returns: it has no result to give yet."""

    def __init__(self, job_id: str, name: str | None, app: Celery | None = None) -> None:
        super().__init__(job_id, None, states.PARKED)
        self._name = name
        self.app = app  # type: ignore[assignment]

    def __reduce_args__(self) -> tuple[Any, ...]:
        return (self.id, self._name)

    def ready(self) -> bool:
        """False: the job waits."""
        return False

    def get(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """There is nothing to get; in eager mode nobody could wait for it.

        Raises:
            EagerCanvasError: Always.
        """
        raise EagerCanvasError(self.id)

    wait = get

    def revoke(self, *_args: Any, **_kwargs: Any) -> None:
        """Cancel the job; its errbacks are called here and now."""
        _cancel(installation_of(self.app), self.id)


def _cancel(installation: Installation, task_id: str) -> bool:
    """Cancel a job if it is open; returns whether its trigger is still to end."""
    place = installation.place(None)
    job_id = known_id(installation, task_id)
    row = require_row(installation, place, job_id)
    try:
        if row["kind"] is None:
            completion.cancel(installation, job_id, reason="Revoked")
    except JobAlreadyCompletedError as completed:
        logger.info("Job %s is not revoked: %s", job_id, completed, extra=name_job(row))
    row = require_row(installation, place, job_id)
    # Of any other outcome, or once it is being handed on, there is nothing to kill.
    is_cancelled = row["kind"] == states.CANCELLED and row["wake_at"] is not None
    is_running = row["started_at"] is not None and row["parked_at"] is None
    return is_cancelled and is_running and row["claim"] is None
