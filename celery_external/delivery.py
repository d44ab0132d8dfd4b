"""What a worker does with one delivery of a job's message: the row decides.

Either the trigger runs and the job parks, or the outcome in the row is handed to Celery by
returning or raising it, or there is nothing to do.
"""

from __future__ import annotations

import copy
import dataclasses
import logging
import time
from collections.abc import Callable, Iterator, Mapping, MutableMapping
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, cast
from uuid import uuid4

from celery.app.task import get_actual_ignore_result
from celery.exceptions import Ignore, Reject, Retry
from celery.local import Proxy
from kombu.exceptions import ContentDisallowed, DecodeError, EncodeError

from . import completion, message, signals, states
from .config import Options, check_json, check_meta_key, check_reference
from .errors import (
    DatabaseUnavailableError,
    ExternalJobCancelled,
    ExternalJobTimedOut,
    JobAlreadyCompletedError,
    NoCurrentJobError,
    ReferenceTakenError,
    TriggerLostError,
    UnserializableError,
)
from .job import Failed, Job, Succeeded
from .store import read, write

if TYPE_CHECKING:
    from celery.app.task import Task

    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

#: A trigger that ran longer may have been delivered to another worker meanwhile (seconds).
_LONG_TRIGGER = 1.0
#: An owed outcome is repeated no less often than this (seconds).
LONGEST_WAIT = 4 * 3600.0


class Parked(Ignore):
    """Ends the delivery of a job that now waits: Celery acks the message and calls nothing."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id


class Superseded(Ignore):
    """Ends a delivery that has nothing to do."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)


class HasHooks(Protocol):
    """What a delivery asks of the task it belongs to."""

    def resolve_options(self, request: Any) -> Options: ...
    def on_parked(self, job: Job) -> None: ...
    def on_timeout(self, job: Job) -> Any: ...
    def send_replacement(self, sig: Any) -> Any: ...


def delivery_of(request: Any) -> Delivery | None:
    """The delivery that a task request carries."""
    return getattr(request, "external", None)


def wait_before_repeat(grace: float, sends: int) -> float:
    """Seconds until the next send: four times as long each time, so that no overload grows."""
    return float(min(grace * 4 ** min(sends, 20), max(LONGEST_WAIT, grace)))


def execute(
    installation: Installation, task: Task[..., Any], run_trigger: Callable[[], Any]
) -> Any:
    """Do what the row says this delivery is for; called in place of the task's ``run``."""
    request = task.request
    delivery = Delivery(installation, task, request)
    for context in task.request_stack.stack:
        # A custom __call__ may have pushed a copy of the tracer's request; both must know.
        if context.id == request.id:
            context.external = delivery
    row = delivery.begin()
    if row["kind"] is None:
        return delivery.run(run_trigger)
    return delivery.hand_on()


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
        self._is_preparing = False
        self._hooks = cast("HasHooks", task)
        self._options = self._hooks.resolve_options(request)

    # --- Begin ---

    def begin(self) -> Row:
        """Claim the row.

        Raises:
            Superseded: There is nothing to do.
        """
        attempt = attempt_of(self.request)
        try:
            row = self._take(attempt) if attempt is not None else self._take_unannounced()
        except DatabaseUnavailableError:
            if attempt is None:
                # Sent by name, and not even a row: only Celery can say that it failed.
                raise
            logger.exception("Job %s cannot begin; it will be sent again", self.job_id)
            raise Superseded("the database is not available") from None
        self.row = row
        return row

    def _take_unannounced(self) -> Row:
        """A message without our header: somebody sent the task by name."""
        row = self._insert_started()
        return row if row is not None else self._take(1)

    def _insert_started(self) -> Row | None:
        with self.installation.database.alone() as tx:
            return write.insert_job(
                tx,
                namespace=self.installation.namespace,
                job_id=self.job_id,
                start=self._start_columns(),
                state=states.STARTED,
                claim=self.claim,
                wake_in=self._options.trigger_timeout,
            )

    def _start_columns(self) -> Row:
        """The job as the request shows it, for a row that no ``apply_async`` has written."""
        task = self.task
        serializer = task.serializer or task.app.conf.task_serializer
        kept = message.snapshot(self.request, task.name, serializer)
        return {"task": task.name, **kept, **start_columns(self._options)}

    def _take(self, attempt: int) -> Row:
        for _ in range(3):
            with self.installation.database.alone() as tx:
                row = write.take(
                    tx,
                    namespace=self.installation.namespace,
                    job_id=self.job_id,
                    attempt=attempt,
                    claim=self.claim,
                    trigger_timeout=self._options.trigger_timeout,
                    lease=self.installation.settings.lease,
                )
                found = row or read.get(tx, self.installation.namespace, self.job_id)
            if row is not None:
                return row
            if not self._is_overdue(found, attempt):
                break
            self._expire(cast("Row", found))
        raise Superseded(_why_superseded(found, attempt))

    def _is_overdue(self, row: Row | None, attempt: int) -> bool:
        waiting = {states.PENDING, states.RETRY}
        return row is not None and row["attempt"] == attempt and row["state"] in waiting

    def _expire(self, row: Row) -> None:
        """The message came after the job's time was over and before the sweep did."""
        with write.deciding(self.installation.database) as tx:
            write.decide(
                tx,
                namespace=row["namespace"],
                job_id=row["id"],
                attempt=row["attempt"],
                outcome=overdue_outcome(row["expires_at"] is not None and row["deadline"] is None),
                by=None,
                wake_in=self.installation.settings.resume_grace,
            )

    # --- The trigger ---

    def run(self, run_trigger: Callable[[], Any]) -> Any:
        """Run the trigger, then park; or hand on what was said meanwhile."""
        began = time.monotonic()
        embed = copy.deepcopy(self._embed())
        self.current = CurrentJob(self)
        token = _current.set(self.current)
        try:
            value = run_trigger()
        except Exception as exc:
            if self._claim_early_outcome():
                logger.info("Job %s was completed while its trigger ran; %r is not its end",
                            self.job_id, exc)  # fmt: skip
                return self.hand_on()
            self._end_by(exc)
            raise
        finally:
            self.current = None
            _current.reset(token)
        if isinstance(value, (Succeeded, Failed)):
            return self._end_with(value)
        is_doubtful = time.monotonic() - began > _LONG_TRIGGER or self._is_redelivered()
        body = None if self._embed() == embed else self._snapshot_body()
        return self._park(value, body, is_doubtful=is_doubtful)

    def _embed(self) -> tuple[Any, ...]:
        request = self.request
        return (request.callbacks, request.errbacks, request.chain, request.chord)

    def _snapshot_body(self) -> bytes:
        return message.snapshot_body(self.request, message.serializer_of(self.row))[0]

    def _is_redelivered(self) -> bool:
        return bool((self.request.delivery_info or {}).get("redelivered"))

    def _end_by(self, exc: Exception) -> None:
        """The trigger left by one of Celery's own doors, without an outcome of its own."""
        if self.finished or isinstance(exc, Retry):
            return
        if isinstance(exc, Reject):
            if not exc.requeue:
                self._decide_own(message.outcome_columns(states.FAILED, reason="Rejected"))
                self.settle()
        elif isinstance(exc, Ignore):
            self._decide_own(
                message.outcome_columns(states.CANCELLED, reason="The trigger raised Ignore")
            )
            self.settle()

    def _end_with(self, outcome: Succeeded | Failed) -> Any:
        """The trigger knows the outcome already: the job ends without parking."""
        if not self._decide_own(message.encode_outcome(self.task.app, outcome)):
            self._claim_early_outcome_or_leave()
        return self.hand_on()

    def _park(self, value: Any, body: bytes | None, *, is_doubtful: bool) -> Any:
        if is_doubtful and not self._is_still_mine():
            self._claim_early_outcome_or_leave()
            return self.hand_on()
        self._store_parked()
        data, type_ = self._dump_trigger_result(value)
        with self.installation.database.alone() as tx:
            row = write.park(
                tx,
                self.row,
                self.claim,
                timeout=self._options.timeout,
                heartbeat_timeout=self._options.heartbeat_timeout,
                body=body,
                trigger_result=data,
                trigger_result_type=type_,
            )
        if row is None:
            self._claim_early_outcome_or_leave()
            return self.hand_on()
        self.row = row
        self.finished = True
        logger.info("Job %s[%s] parked", self.task.name, self.job_id)
        self._tell_parked()
        raise Parked(self.job_id)

    def _is_still_mine(self) -> bool:
        with self.installation.database.alone() as tx:
            row = read.get(tx, self.installation.namespace, self.job_id)
        return row is not None and row["claim"] == self.claim and row["kind"] is None

    def _store_parked(self) -> None:
        """Before the row says PARKED: nobody hands an outcome on while it says STARTED.

        Written later, it would overwrite the outcome of whoever was faster.
        """
        if self.request.is_eager or get_actual_ignore_result(self.task, self.request):
            return
        meta = {"labels": self.row["labels"], "meta": self.row["meta"]}
        try:
            self.task.backend.store_result(
                self.job_id, meta, states.PARKED, request=self.request
            )
        except Exception:
            logger.exception("The result backend does not show job %s as PARKED", self.job_id)

    def _dump_trigger_result(self, value: Any) -> tuple[bytes | None, str | None]:
        if value is None:
            return None, None
        try:
            return message.dump(self.task.app, value, "trigger's return value")
        except UnserializableError as exc:
            # The outside work has begun: this is no reason to fail.
            logger.warning("Job %s parks without its trigger's return value: %s", self.job_id, exc)
            return None, None

    def _tell_parked(self) -> None:
        try:
            self._hooks.on_parked(self._job())
        except Exception:
            logger.exception("on_parked of job %s raised", self.job_id)
        signals.job_parked.send(self.task, job_id=self.job_id)

    def _job(self) -> Job:
        """The snapshot that the task's hooks get; its arguments came with the message."""
        request = self.request
        job = message.job_from(self.task.app, self.row)
        return dataclasses.replace(job, args=request.args, kwargs=request.kwargs)

    def _claim_early_outcome(self) -> bool:
        """Whether somebody completed the job while its trigger ran, and it is ours to hand on."""
        if self.finished:
            return False
        try:
            with self.installation.database.alone() as tx:
                row = write.claim_outcome(
                    tx, self.row, self.claim, self.installation.settings.lease
                )
        except DatabaseUnavailableError:
            logger.exception("Job %s: whether it was completed is not known", self.job_id)
            return False
        if row is not None:
            self.row = row
        return row is not None

    def _claim_early_outcome_or_leave(self) -> None:
        if not self._claim_early_outcome():
            self.finished = True
            raise Superseded("another worker carries on with it")
        logger.info("Job %s was completed while its trigger ran", self.job_id)

    def _decide_own(self, outcome: Row) -> bool:
        with write.deciding(self.installation.database) as tx:
            row = write.decide_own(
                tx, self.row, self.claim, outcome=outcome, lease=self.installation.settings.lease
            )
        if row is None:
            return False
        self.row = row
        signals.job_completed.send(
            self.task.app, job_id=self.job_id, attempt=row["attempt"], kind=row["kind"]
        )
        return True

    # --- The outcome ---

    def hand_on(self) -> Any:
        """Return or raise the outcome in the row; Celery's tracer does the rest."""
        try:
            if self.row["kind"] == states.TIMED_OUT and self.row["answer"] is None:
                self._answer_timeout()
            return self._return_or_raise()
        except (ContentDisallowed, DecodeError) as exc:
            logger.exception("The outcome of job %s cannot be read here", self.job_id)
            self.release()
            raise Superseded(f"its outcome cannot be read: {exc}") from None

    def _return_or_raise(self) -> Any:
        app, row = self.task.app, self.row
        reason = row["reason"] or ""
        match row["answer"] or row["kind"]:
            case states.SUCCEEDED:
                return message.load(app, row["outcome"], row["outcome_type"])
            case states.FAILED:
                raise message.decode_exception(app, row)
            case states.TIMED_OUT:
                raise ExternalJobTimedOut(reason)
            case states.LOST:
                raise TriggerLostError(reason)
            case states.CANCELLED:
                raise ExternalJobCancelled(reason)
            case states.CONTINUED:
                kept = message.load(app, row["outcome"], row["outcome_type"])
                return self._send_replacement(app.signature(kept))
            case kind:
                raise Superseded(f"this version knows no outcome {kind!r}")

    def _answer_timeout(self) -> None:
        """Ask the task once what a timeout means, and keep the answer before handing it on."""
        app = self.task.app
        try:
            answer = self._hooks.on_timeout(self._job())
        except (Ignore, Reject, Retry):
            raise
        except ExternalJobTimedOut:
            return
        except Exception as exc:
            logger.exception("on_timeout of job %s raised", self.job_id)
            columns = message.encode_exception(app, exc)
        else:
            columns = self._encode_answer(answer)
        with write.deciding(self.installation.database) as tx:
            row = write.answer_timeout(tx, self.row, self.claim, columns)
        if row is None:
            self.finished = True
            raise Superseded("another worker carries on with it")
        self.row = row

    def _encode_answer(self, answer: Any) -> Row:
        if isinstance(answer, dict) and "subtask_type" in answer:
            return self._continuation(self._prepare_replacement(answer))
        return message.encode_outcome(self.task.app, Succeeded(answer), note=self.row["reason"])

    def _prepare_replacement(self, sig: Any) -> Any:
        """A signature with this job's id and place in the canvas, as ``Task.replace`` makes it."""
        self._is_preparing = True
        try:
            return self.task.replace(self.task.app.signature(sig))
        finally:
            self._is_preparing = False

    def replace(self, sig: Any) -> Any:
        """The trigger goes on as another step (``Task.replace``): keep it, then send it."""
        if self._is_preparing:
            return sig
        if not self._decide_own(self._continuation(sig)):
            self._claim_early_outcome_or_leave()
            return self.hand_on()
        return self._send_replacement(sig)

    def _continuation(self, sig: Any) -> Row:
        serializer = message.serializer_of(self.row)
        data, type_ = message.serialize(dict(sig), serializer, "replacement")
        return message.outcome_columns(
            states.CONTINUED, reason=f"Replaced by {sig}", outcome=data, outcome_type=type_
        )

    def _send_replacement(self, sig: Any) -> NoReturn:
        try:
            self._hooks.send_replacement(sig)
        except Ignore:
            self.settle()
            raise
        except Exception as exc:
            logger.exception("Job %s cannot be replaced now; it will be tried again", self.job_id)
            self.release()
            raise Superseded(f"its replacement could not be sent: {exc}") from None
        raise AssertionError("Task.on_replace always raises")

    def may_fail_with(self, exc: BaseException) -> bool:
        """Whether Celery may record this failure: it must be what the row says.

        A trigger's own failure becomes the outcome here, where no retry will follow any more.
        """
        if self.finished or not self.row:
            return not self.row
        kind = self.row["answer"] or self.row["kind"]
        if kind is None:
            return self._decide_own(message.encode_exception(self.task.app, exc))
        if kind not in {states.SUCCEEDED, states.CONTINUED}:
            return True
        if isinstance(exc, EncodeError):
            # The next step's serializer refuses the result: that will not change by itself.
            return self._overrule(exc)
        return False

    def _overrule(self, exc: BaseException) -> bool:
        with write.deciding(self.installation.database) as tx:
            row = write.overrule(
                tx, self.row, self.claim, message.encode_exception(self.task.app, exc)
            )
        self.row = row or self.row
        return row is not None

    # --- The end ---

    def begin_next_attempt(
        self, start: Row, timing: Mapping[str, Any], *, is_retry: bool
    ) -> Row | None:
        """A retry or a replacement carries the job on; None: somebody has completed it."""
        with write.deciding(self.installation.database) as tx:
            row = write.begin_next_attempt(
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
        row = self.begin_next_attempt(self._start_columns(), {"wake_in": grace}, is_retry=True)
        if row is None:
            raise Superseded("it was completed meanwhile")
        attempt: int = row["attempt"]
        return attempt

    def settle(self) -> None:
        """Celery has been told."""
        if self.finished:
            return
        try:
            with self.installation.database.alone() as tx:
                write.settle(tx, self.row, self.claim)
        except DatabaseUnavailableError:
            logger.exception("Job %s stays owed; it may be handed on once more", self.job_id)
        self.finished = True

    def release(self) -> None:
        """Celery could not be told: give the claim back, for the sweep to send it again."""
        if self.finished or not self.row or self.row["kind"] is None:
            return
        self.finished = True
        wait = wait_before_repeat(self.installation.settings.resume_grace, self.row["sends"])
        try:
            with self.installation.database.alone() as tx:
                write.release(tx, self.row, self.claim, wait)
        except DatabaseUnavailableError:
            logger.exception("Job %s stays claimed until the lease is over", self.job_id)


def attempt_of(request: Any) -> int | None:
    """The attempt that a delivery says it is; None: it was sent by name."""
    found = getattr(request, message.ATTEMPT_HEADER, None)
    if found is None:
        found = (request.headers or {}).get(message.ATTEMPT_HEADER)
    return found if isinstance(found, int) else None


def start_columns(options: Options) -> Row:
    """The columns that a job's options fill."""
    return {
        "labels": list(options.labels),
        "meta": dict(options.meta or {}),
        "heartbeat_timeout": options.heartbeat_timeout,
        "deadline": options.deadline,
    }


def overdue_outcome(is_expired: bool) -> Row:  # noqa: FBT001 - which of two ends
    """The outcome of a job whose time was over before a worker took it."""
    if is_expired:
        return message.outcome_columns(states.CANCELLED, reason="Expired before it was started")
    return message.outcome_columns(states.TIMED_OUT, reason="The deadline has passed")


def _why_superseded(row: Row | None, attempt: int) -> str:
    if row is None:
        return "there is no such job: the transaction that made it was rolled back"
    if row["attempt"] != attempt:
        return f"attempt {attempt} is over, {row['attempt']} is the open one"
    if row["kind"] is not None and row["wake_at"] is not None:
        return "another worker hands its outcome on"
    return f"it is {row['state']} already"


# --- What the trigger sees --------------------------------------------------------------------------


class Meta(MutableMapping[str, Any]):
    """A job's meta inside its trigger: each assignment is saved at once.

    Values are copied as JSON on the way in and on the way out, so a nested value is changed by
    assigning it again.
    """

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery

    def __getitem__(self, key: str) -> Any:
        return copy.deepcopy(self._kept[key])

    def __setitem__(self, key: str, value: Any) -> None:
        self._save({**self._kept, check_meta_key(key): check_json("meta", value)})

    def __delitem__(self, key: str) -> None:
        if key not in self._kept:
            raise KeyError(key)
        self._save({name: value for name, value in self._kept.items() if name != key})

    def __iter__(self) -> Iterator[str]:
        return iter(dict(self._kept))

    def __len__(self) -> int:
        return len(self._kept)

    def __repr__(self) -> str:
        return repr(self._kept)

    @property
    def _kept(self) -> dict[str, Any]:
        kept: dict[str, Any] = self._delivery.row["meta"]
        return kept

    def _save(self, meta: dict[str, Any]) -> None:
        delivery = self._delivery
        with delivery.installation.database.alone() as tx:
            write.save(tx, delivery.row, delivery.claim, "meta", meta)
        delivery.row["meta"] = meta


class CurrentJob:
    """The job whose trigger is running."""

    def __init__(self, delivery: Delivery) -> None:
        self._delivery = delivery
        self._meta = Meta(delivery)

    def __repr__(self) -> str:
        return f"<CurrentJob {self.id} attempt {self.attempt}>"

    @property
    def id(self) -> str:
        """The task id."""
        return self._delivery.job_id

    @property
    def attempt(self) -> int:
        """Counted from 1; tell it to the outside system, and pass it on with its answer."""
        attempt: int = self._delivery.row["attempt"]
        return attempt

    @property
    def labels(self) -> tuple[str, ...]:
        """The task's labels and the call's."""
        return tuple(self._delivery.row["labels"])

    @property
    def meta(self) -> Meta:
        """What people see of the job; each assignment is saved at once."""
        return self._meta

    @property
    def reference(self) -> str | None:
        """The outside system's own id for the work; saved when it is set.

        Raises:
            ReferenceTakenError: Another job of this task has it.
        """
        reference: str | None = self._delivery.row["reference"]
        return reference

    @reference.setter
    def reference(self, value: str) -> None:
        delivery = self._delivery
        checked = check_reference(value)
        database = delivery.installation.database
        try:
            with database.alone() as tx:
                write.save(tx, delivery.row, delivery.claim, "reference", checked)
        except Exception as exc:
            if database.is_integrity_error(exc):
                raise ReferenceTakenError(checked, delivery.task.name) from None
            raise
        delivery.row["reference"] = checked

    def progress(
        self, current: float | None = None, total: float | None = None, message: str | None = None
    ) -> None:
        """Say how far the work is."""
        delivery = self._delivery
        completion.report_progress(
            delivery.installation, self.id, current, total, message, attempt=self.attempt
        )

    def raise_if_completed(self) -> None:
        """Stop here if somebody has completed the job meanwhile.

        Raises:
            JobAlreadyCompletedError: An outcome is recorded; nothing that follows would count.
        """
        job = completion.get(self._delivery.installation, self.id)
        if job.attempt != self.attempt or not job.is_open:
            raise JobAlreadyCompletedError(job, "triggered")


_current: ContextVar[CurrentJob | None] = ContextVar("celery_external_current_job", default=None)


def get_current_job() -> CurrentJob:
    """The job whose trigger runs here.

    Raises:
        NoCurrentJobError: No trigger runs here.
    """
    job = _current.get()
    if job is None:
        raise NoCurrentJobError
    return job


#: The job whose trigger is running, as ``celery.current_task`` is the task.
current_job = cast("CurrentJob", Proxy(get_current_job))
