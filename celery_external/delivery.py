"""One delivery of a job's message: its claim on the row, and what the row lets it do."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, cast
from uuid import uuid4

from celery.exceptions import Ignore, SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from . import message, payload, signals, states
from .config import Options, Polling
from .errors import DatabaseUnavailableError, OptionError
from .job import Job
from .logs import name_job
from .result_type import result_type_of
from .store import attempts, decisions, deliveries, noted
from .view import job_from

if TYPE_CHECKING:
    from celery.app.task import Task

    from .current import CurrentJob
    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

T = TypeVar("T")

#: An owed outcome is repeated no less often than this (seconds).
LONGEST_WAIT = 4 * 3600.0
#: Seconds between tries to write what the outside world cannot be asked for again: ten minutes.
PATIENCE = (0.5, 1.0, 2.0, 4.0, *[5.0] * 119)


class Superseded(Ignore):
    """Ends a delivery that has nothing to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class HasHooks(Protocol):
    """What a delivery asks of the task it belongs to."""

    @property
    def polling(self) -> Polling | None:
        """How often its parked jobs are polled."""

    def resolve_options(self, request: Any) -> Options:
        """The options of the job that a request is for."""

    def on_parked(self, job: Job) -> None:
        """The job has parked."""

    def on_timeout(self, job: Job) -> Any:
        """The job has timed out."""

    def send_replacement(self, sig: Any) -> Any:
        """Celery's own end of ``replace``."""


def delivery_of(request: Any) -> Delivery | None:
    """The delivery that a task request carries."""
    return getattr(request, "external", None)


def wait_before_repeat(grace: float, sends: int) -> float:
    """Seconds until the next send: four times as long each time, so that no overload grows."""
    return float(min(grace * 4 ** min(sends, 20), max(LONGEST_WAIT, grace)))


class Delivery:
    """One delivery of one job's message, from the claim to the settlement."""

    def __init__(self, installation: Installation, task: Task[..., Any], request: Any) -> None:
        self.installation = installation
        self.task = task
        self.request = request
        self.job_id: str = request.id
        self.claim = uuid4().hex
        self.row: Row = {}
        #: What the trigger sees, while it runs.
        self.current: CurrentJob | None = None
        #: Nothing is left to do: settled, or a next attempt carries on.
        self.finished = False
        #: The claim was given back: the outcome is owed, and anybody's.
        self.released = False
        #: ``Task.replace`` is asked for a signature that is kept before it is sent.
        self.is_preparing = False
        self.hooks = cast("HasHooks", task)
        #: What results must be; None: anything, or the result is another task's.
        self.result_type = result_type_of(task)
        self.options = self.hooks.resolve_options(request)

    @property
    def kind(self) -> str | None:
        """The kind of outcome to hand on; None while the trigger is to run."""
        kind: str | None = self.row["answer"] or self.row["kind"]
        return kind

    @property
    def extra(self) -> dict[str, Any]:
        """The fields of a log line about it."""
        return name_job(self.job_id, self.task.name)

    @property
    def is_redelivered(self) -> bool:
        """Whether the broker delivers this very message once more."""
        return bool((self.request.delivery_info or {}).get("redelivered"))

    @property
    def is_past_call_deadline(self) -> bool:
        """Whether the job timed out by the deadline of its call, which no attempt can meet."""
        deadline = self.options.deadline
        is_timed_out = bool(self.row) and self.row["kind"] == states.TIMED_OUT
        return is_timed_out and deadline is not None and deadline <= self.row["completed_at"]

    def job(self) -> Job:
        """The snapshot that the task's hooks get; its arguments came with the message."""
        job = job_from(self.task.app, self.row)
        return dataclasses.replace(job, args=self.request.args, kwargs=self.request.kwargs)

    def check_result(self, result: Any) -> Any:
        """A result that this process came by, as it is to be kept.

        Raises:
            ResultInvalidError: It is not what the task has declared.
        """
        if self.result_type is None:
            return result
        return self.result_type.check(self.job_id, self.task.name, result)

    def insist(self, write_it: Callable[[], T], patience: Iterable[float] = PATIENCE) -> T:
        """Write what must not be lost to a database that is away for a while.

        Raises:
            DatabaseUnavailableError: It is away for longer.
        """
        for wait in patience:
            try:
                return write_it()
            except DatabaseUnavailableError as exc:
                logger.warning(
                    "Job %s waits %ss for the database: %s",
                    self.job_id,
                    wait,
                    exc,
                    extra=self.extra,
                )
                time.sleep(wait)
        return write_it()

    def start_columns(self) -> Row:
        """The job as the request shows it, for a row that no ``apply_async`` has written."""
        task = self.task
        default = task.serializer or task.app.conf.task_serializer
        serializer = message.serializer_in(self.request) or default
        kept = message.snapshot(task.app, self.request, task.name, serializer)
        return {"task": task.name, **kept, **start_columns(self.options)}

    # --- The outcome ---

    def claim_early_outcome(self) -> bool:
        """Whether somebody completed the job while its trigger ran, and it is ours to hand on."""
        if self.finished:
            return False
        try:
            with self.installation.database.alone() as tx:
                row = deliveries.claim_outcome(
                    tx, self.row, self.claim, self.installation.settings.lease
                )
        except DatabaseUnavailableError:
            logger.exception(
                "Job %s: whether it was completed is not known", self.job_id, extra=self.extra
            )
            return False
        if row is not None:
            self.row = row
            self.released = False
        return row is not None

    def leave(self) -> Superseded:
        """What to raise when another worker carries on with the job."""
        self.finished = True
        return Superseded("another worker carries on with it")

    def decide_own(self, outcome: Row) -> bool:
        """End the job whose trigger is running here; False: somebody else was first."""
        row = self.insist(lambda: self._decide_own(outcome))
        if row is None:
            return False
        self.row = row
        signals.send_completed(self.task.app, row)
        return True

    def _decide_own(self, outcome: Row) -> Row | None:
        with noted.deciding(self.installation.database) as tx:
            return decisions.decide_own(
                tx, self.row, self.claim, outcome=outcome, lease=self.installation.settings.lease
            )

    def may_fail_with(self, exc: BaseException) -> bool:
        """Whether Celery may record this failure: it must be what the row says.

        A trigger's own failure becomes the outcome here, where no retry will follow any more.
        """
        if not self.row:
            return True
        if self.finished or isinstance(exc, DatabaseUnavailableError):
            return False
        if self.kind is None:
            return self._try(lambda: self.decide_own(self._failure(exc)))
        if self.kind not in {states.SUCCEEDED, states.CONTINUED}:
            return True
        if isinstance(exc, (OperationalError, OSError, SoftTimeLimitExceeded)):
            return False
        # The next step refuses the result, or its arguments: that will not change by itself.
        return self._try(lambda: self._overrule(exc))

    def _try(self, decide: Callable[[], bool]) -> bool:
        try:
            return decide()
        except DatabaseUnavailableError:
            logger.exception(
                "Job %s: how its trigger ended is not known", self.job_id, extra=self.extra
            )
            return False

    def _failure(self, exc: BaseException) -> Row:
        return payload.encode_exception(self.task.app, exc)

    def _overrule(self, exc: BaseException) -> bool:
        if self.released and not self.claim_early_outcome():
            # Celery's tracer says that a delivery is over before it says that it went wrong.
            return False
        with noted.deciding(self.installation.database) as tx:
            row = decisions.overrule(tx, self.row, self.claim, self._failure(exc))
        self.row = row or self.row
        return row is not None

    # --- The end ---

    def refuse_in_transaction(self) -> None:
        """A trigger that ends inside ``atomic()`` would have its last word rolled back.

        Raises:
            OptionError: A transaction is open that the exception on its way would end.
        """
        if self.installation.database.defers:
            raise OptionError(
                "atomic",
                "retry() and replace() leave by an exception, which rolls back the transaction "
                "that is open: leave atomic() first",
            )

    def begin_next_attempt(
        self, start: Row, timing: Mapping[str, Any], *, is_retry: bool
    ) -> Row | None:
        """A retry or a replacement carries the job on; None: somebody has completed it."""
        with self.installation.database.transaction() as tx:
            row = attempts.begin_next_attempt(
                tx,
                namespace=self.installation.namespace,
                job_id=self.job_id,
                row=self.row,
                claim=self.claim,
                # What a trigger said of its job stays when it is retried.
                start={**start, "meta": None} if is_retry else start,
                state=states.RETRY if is_retry else states.PENDING,
                event="retried" if is_retry else "replaced",
                **timing,
            )
        self.finished = row is not None
        return row

    def retry_eagerly(self) -> int:
        """In eager mode nothing is published: the retry runs here, as this attempt."""
        grace = self.installation.settings.pending_grace
        row = self.begin_next_attempt(self.start_columns(), {"wake_in": grace}, is_retry=True)
        if row is None:
            raise Superseded("it was completed meanwhile")
        attempt: int = row["attempt"]
        return attempt

    def settle(self) -> None:
        """Celery has been told."""
        if self.finished or not self.row:
            return
        self.finished = True
        try:
            self.insist(self._settle)
        except DatabaseUnavailableError:
            logger.exception(
                "Job %s stays owed; it may be handed on once more", self.job_id, extra=self.extra
            )

    def _settle(self) -> None:
        with self.installation.database.alone() as tx:
            deliveries.settle(tx, self.row, self.claim)

    def renew(self) -> None:
        """Handing on takes longer than the lease: nobody else is to begin with it."""
        try:
            with self.installation.database.alone() as tx:
                deliveries.renew(tx, self.row, self.claim, self.installation.settings.lease)
        except DatabaseUnavailableError as exc:
            logger.warning(
                "Job %s: the claim is not renewed: %s", self.job_id, exc, extra=self.extra
            )

    def release(self) -> None:
        """Celery could not be told: give the claim back, for the sweep to send it again."""
        if self.finished or self.released or not self.row or self.kind is None:
            return
        self.released = True
        wait = wait_before_repeat(self.installation.settings.resume_grace, self.row["sends"])
        try:
            with self.installation.database.alone() as tx:
                deliveries.release(tx, self.row, self.claim, wait)
        except DatabaseUnavailableError:
            logger.exception(
                "Job %s stays claimed until the lease is over", self.job_id, extra=self.extra
            )


def start_columns(options: Options) -> Row:
    """The columns that a job's options fill."""
    return {
        "labels": list(options.labels),
        "meta": dict(options.meta or {}),
        "heartbeat_timeout": options.heartbeat_timeout,
        "deadline": options.deadline,
    }
