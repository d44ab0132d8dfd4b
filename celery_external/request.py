"""A delivery as the worker's main process sees it: it is told of ends that no task code sees."""

from __future__ import annotations

import logging
from typing import Any

from billiard.einfo import (  # type: ignore[attr-defined]
    ExceptionInfo,
    ExceptionWithTraceback,
)
from billiard.exceptions import Terminated, TimeLimitExceeded, WorkerLostError
from celery.exceptions import Reject
from celery.utils.functional import maybe_list
from celery.worker import state
from celery.worker.request import Request

from . import completion, message, payload, sending, signals, states
from .errors import ExternalError
from .installation import installation_of
from .logs import name_job
from .store import decisions, noted, read
from .trigger import Parked, Rejected

logger = logging.getLogger("celery_external")


class ExternalRequest(Request):
    """Celery's Request, where a lost process is an outcome in the row and nothing else."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # For the row of a job that was sent by name: its message is kept as it came.
        self.request_dict[message.CONTENT_TYPE_KEY] = self.content_type
        if self._attempt() is None:
            self.request_dict[message.SENT_HEADERS_KEY] = dict(self.message.headers or {})

    def revoked(self) -> bool:
        """Have a revoked job end by the row: its outcome, or now a cancellation.

        Celery's own would store REVOKED and throw away the message, which may be a resume.
        """
        is_revoked = self._is_revoked()
        if not is_revoked and self.expires is None:
            return False
        installation = installation_of(self.app)
        try:
            with installation.database.alone() as tx:
                row = read.get(tx, installation.namespace, self.id)
            if row is None and self._attempt() is None:
                # Sent by name: it is no job yet, and Celery's word is all there is.
                return bool(super().revoked())
            if is_revoked and row is not None and row["kind"] is None:
                completion.cancel(installation, self.id, attempt=self._attempt(), reason="Revoked")
        except ExternalError as exc:
            logger.info(
                "Job %s was revoked: %s", self.id, exc, extra=name_job(self.id, self.task.name)
            )
        finally:
            installation.rest()
        # Delivered all the same: this delivery hands the outcome on.
        return False

    def _announce_revoked(
        self,
        reason: str,
        terminated: bool,  # noqa: FBT001 - Celery's signature
        signum: Any,
        expired: bool,  # noqa: FBT001
    ) -> None:
        """Leave a terminated job to the row; Celery would store REVOKED, and ack."""
        if not terminated:
            super()._announce_revoked(reason, terminated, signum, expired)  # type: ignore[misc]

    def _is_revoked(self) -> bool:
        if self.id in state.revoked:
            return True
        for header, value in self.stamps.items():
            revoked = state.revoked_stamps.get(header)
            if revoked is not None and set(maybe_list(value) or ()) & set(maybe_list(revoked)):
                return True
        return False

    def _attempt(self) -> int | None:
        found = self.request_dict.get(message.ATTEMPT_HEADER)
        return found if isinstance(found, int) else None

    def on_timeout(self, soft: bool, timeout: float) -> None:  # noqa: FBT001 - Celery's signature
        """The soft time limit was sent to the trigger, or the hard one has killed its process."""
        if soft:
            super().on_timeout(soft, timeout)
        else:
            state.task_ready(self)
            self._on_time_limit(timeout)

    def on_failure(
        self,
        exc_info: ExceptionInfo,
        send_failed_event: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        return_ok: bool = False,  # noqa: FBT001, FBT002
    ) -> None:
        """A delivery ended without a result: it parked, failed, or its process is gone."""
        exc = exc_info.exception
        if isinstance(exc, ExceptionWithTraceback):
            exc = exc.exc
        if isinstance(exc, Parked):
            state.task_ready(self)
            self.acknowledge()
            self._tell_parked()
        elif isinstance(exc, TimeLimitExceeded):
            # billiard tells of a hard limit twice: by on_timeout, and as the job's failure.
            state.task_ready(self)
            self._on_time_limit(exc.args[0])
        elif isinstance(exc, (WorkerLostError, Terminated, SystemExit, KeyboardInterrupt)):
            state.task_ready(self)
            self._on_lost(exc)
        elif isinstance(exc, Reject) and not isinstance(exc, Rejected):
            # By a hook, before the trigger or after the outcome: Celery would record a FAILURE.
            state.task_ready(self)
            self.reject(requeue=exc.requeue)  # type: ignore[attr-defined]
        else:
            if isinstance(exc, Rejected):
                exc_info.exception = Reject(*exc.args)
            super().on_failure(exc_info, send_failed_event=send_failed_event, return_ok=return_ok)

    def _tell_parked(self) -> None:
        """Have monitors show the job as PARKED, also one that began to watch after its start."""
        headers = self.request_dict
        attempts = (self._attempt() or 1) - 1
        if attempts > (headers.get("retries") or 0) and not headers.get("replaced_task_nesting"):
            # It was run again after it had failed. Monitors take whatever comes after a failure
            # for something that was late, unless they are told that it is a new attempt.
            self.send_event("task-retried", exception="Run again", traceback=None)
        self.send_event("task-parked", name=self.name)

    def _on_time_limit(self, seconds: float) -> None:
        # Celery 5.6 has one option for failures and timeouts.
        may_ack = getattr(self.task, "acks_on_timeout", self.task.acks_on_failure_or_timeout)
        if self.task.acks_late and not may_ack:
            # The user asked Celery to deliver it again; the row still says STARTED.
            self.reject(requeue=True)
            return
        self._lose(f"Hard time limit ({seconds}s) exceeded")
        self.acknowledge()

    def _on_lost(self, exc: BaseException) -> None:
        if self._already_cancelled:  # type: ignore[attr-defined]
            # A cold shutdown, or a lost connection: unacked, the message is delivered again.
            return
        task = self.task
        is_killed = isinstance(exc, WorkerLostError)
        if task.acks_late and task.reject_on_worker_lost and is_killed:
            # The user asked Celery to deliver it again; the row still says STARTED.
            self.reject(requeue=True)
            return
        self._lose(f"The process that ran the trigger is gone: {payload.as_text(exc)}")
        self.acknowledge()

    def _lose(self, reason: str) -> None:
        """A trigger that was running is lost; an outcome that was being handed on stays owed."""
        installation = installation_of(self.app)
        outcome = payload.outcome_columns(states.LOST, reason=reason)
        logger.error(
            "Job %s[%s]: %s", self.name, self.id, reason, extra=name_job(self.id, self.task.name)
        )
        try:
            with installation.database.alone() as tx:
                row = read.get(tx, installation.namespace, self.id)
            if row is None or row["state"] != states.STARTED or row["kind"] is not None:
                return
            if self._attempt() not in {None, row["attempt"]}:
                return
            with noted.deciding(installation.database) as tx:
                lost = decisions.decide_lost(
                    tx, row, outcome, wake_in=installation.settings.resume_grace
                )
        except ExternalError:
            logger.exception(
                "Job %s: that its trigger is lost will be found out later",
                self.id,
                extra=name_job(self.id, self.task.name),
            )
            return
        finally:
            installation.rest()
        if lost is not None:
            signals.send_completed(installation.app, lost)
            sending.send(installation.app, [lost], installation.settings.resume_queue)
