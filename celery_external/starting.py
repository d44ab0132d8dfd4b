"""How a call of an external task becomes a row and a message, in that order."""

from __future__ import annotations

import functools
import logging
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from celery import _state
from celery.canvas import maybe_signature
from celery.utils.functional import maybe_list
from celery.utils.time import maybe_iso8601, maybe_make_aware
from kombu.exceptions import OperationalError

from . import message, states
from .broker import publish
from .checks import MAX_SECONDS
from .config import CALL_OPTIONS, POLL_OPTIONS, check_options, resolve_options
from .delivery import Delivery, delivery_of, start_columns
from .errors import DatabaseUnavailableError, OptionError
from .installation import Installation, installation_of
from .logs import name_job
from .naming import is_external
from .propagation import restore_trace
from .sending import keep_client
from .steering import wake_in
from .store import attempts

if TYPE_CHECKING:
    from celery import Celery
    from celery.app.task import Task

    from .store.database import Row
    from .store.place import Place

logger = logging.getLogger("celery_external")

#: Marks Celery.send_task as watched already.
_WATCHED = "_celery_external_watches"


def take_call_options(options: dict[str, Any]) -> None:
    """Move our options into the header in which they travel with the message.

    Raises:
        OptionError: An option's value cannot be used.
    """
    for name in POLL_OPTIONS:
        if name in options:
            raise OptionError(name, "is an option of the task, not of one call")
    ours = {name: options.pop(name) for name in CALL_OPTIONS if name in options}
    if ours:
        headers = dict(options.get("headers") or {})
        kept = headers.get(message.OPTIONS_HEADER) or {}
        headers[message.OPTIONS_HEADER] = {**kept, **check_options(ours)}
        options["headers"] = headers


def watch_options(app: Celery) -> None:
    """Have ``send_task`` refuse our options for ordinary tasks, where Celery ignores them.

    A task that is sent by a name unknown here keeps them: its worker may know it for external.
    And what is sent while an outcome is told waits for the broker.
    """
    if getattr(app, _WATCHED, False):
        return
    send_task = app.send_task

    @functools.wraps(send_task)
    def watched(name: str, *args: Any, **options: Any) -> Any:
        is_known = app.finalized  # type: ignore[attr-defined]  # celery-types lacks it
        task = options.get("task_type") or (app.tasks.get(name) if is_known else None)
        if task is None or is_external(task):
            if "using" in options:
                raise OptionError("using", f"cannot start {name}, which this app does not know")
            take_call_options(options)
        else:
            _refuse_options(name, options)
        for place in ("chain", "chord", "link", "link_error"):
            for later in maybe_list(options.get(place)) or ():
                if isinstance(later, Mapping):
                    _refuse_options_within(app, later)
        return publish(lambda: send_task(name, *args, **options))

    app.send_task = watched  # type: ignore[method-assign]
    setattr(app, _WATCHED, True)


def _refuse_options(name: str, options: Mapping[str, Any]) -> None:
    # `timeout` is kombu's here: how long to wait for the broker.
    names = (*CALL_OPTIONS, "using")
    ours = [option for option in names if option in options and option != "timeout"]
    if ours:
        raise OptionError(ours[0], f"is for external tasks, and {name} is not one")


def _refuse_options_within(app: Celery, signature: Mapping[str, Any]) -> None:
    """Look at the steps that come later now: a worker that finds it out is too late."""
    kwargs = signature.get("kwargs") or {}
    if not signature.get("subtask_type"):
        name, options = signature.get("task", ""), signature.get("options") or {}
        task = app.tasks.get(name)
        if task is not None and not is_external(task):
            _refuse_options(name, options)
        else:
            check_options({option: options[option] for option in CALL_OPTIONS if option in options})
        return
    for inner in (kwargs.get("body"), kwargs.get("header"), kwargs.get("tasks")):
        for step in inner if isinstance(inner, (list, tuple)) else (inner,):
            if isinstance(step, Mapping):
                _refuse_options_within(app, step)


def freeze(app: Celery, callbacks: Any) -> Any:
    """Give callbacks their ids now: should they be sent twice, it is the same task twice."""
    if not callbacks:
        return callbacks
    frozen = []
    for callback in maybe_list(callbacks):
        signature: Any = maybe_signature(callback, app=app, clone=True)
        signature.freeze()
        frozen.append(signature)
    return frozen


def own_delivery(task_id: str) -> Delivery | None:
    """The delivery that starts its own job anew, if this call is made inside one."""
    running = _state.get_current_task()
    delivery = None if running is None else delivery_of(running.request)
    is_own = delivery is not None and delivery.row and delivery.job_id == task_id
    return delivery if is_own else None


class Call:
    """One ``apply_async``: makes the row when Celery has made the message."""

    def __init__(
        self,
        task: Task[..., Any],
        task_id: str,
        expires: Any,
        options: Mapping[str, Any],
        using: Any = None,
    ) -> None:
        self._task = task
        self._task_id = task_id
        self._options = options
        self._installation: Installation = installation_of(task.app)
        #: The row is committed later, by somebody else, and the message goes out then.
        self._is_deferred = using is not None
        self._using = using
        self._expires = _expiry(task.app, expires)
        self._own = own_delivery(task_id)
        self._row: Row | None = None
        self._is_prepared = False
        self._is_sent = False

    def prepare(self, body: Any, publish: dict[str, Any]) -> bool:
        """Write the row and mark the message with its attempt; False: nothing is to be sent."""
        if not self._is_prepared:
            for name in (message.CONTENT_TYPE_KEY, message.SENT_HEADERS_KEY):
                # A retry carries on what the worker has put into its request.
                publish["headers"].pop(name, None)
            restore_trace(publish["headers"])
            self._is_sent = self._write(body, publish)
            self._is_prepared = True
        if self._row is not None:
            headers = publish["headers"]
            headers[message.ATTEMPT_HEADER] = self._row["attempt"]
            if message.OPTIONS_HEADER in headers:
                # The row has it; a broker's headers are for small things.
                kept = {k: v for k, v in headers[message.OPTIONS_HEADER].items() if k != "meta"}
                headers[message.OPTIONS_HEADER] = kept
            if self._is_deferred:
                self._place.after_commit([self._row], lambda rows: self._send(rows, body, publish))
                return False
        return self._is_sent

    @cached_property
    def _place(self) -> Place:
        return self._installation.place(self._using)

    def _send(self, rows: list[Row], body: Any, publish: Mapping[str, Any]) -> None:
        """The caller has committed."""
        for row in rows:
            try:
                with self._task.app.producer_or_acquire() as producer:
                    producer.publish(body, **publish)
            except (OperationalError, OSError) as exc:
                logger.warning(
                    "Job %s will be sent by the sweep: %r",
                    self._task_id,
                    exc,
                    extra=name_job(self._task_id, self._task.name),
                )
            else:
                wait = _seconds_until(self._task.app, publish["headers"].get("eta"))
                wake_in(self._installation, row, wait + self._installation.settings.pending_grace)

    def _write(self, body: Any, publish: Mapping[str, Any]) -> bool:
        app = self._task.app
        try:
            self._is_deferred = self._place.defers
            start, timing = self._columns(body, publish)
            if self._own is not None:
                return self._begin_next_attempt(self._own, start, timing)
            return self._insert(start, timing)
        except DatabaseUnavailableError:
            if app.current_worker_task is None or self._is_deferred:
                raise
            # The task that is running must not fail for it. A new job gets its row at the
            # trigger; the own job's row says what to do next: the sweep, or the lease's end.
            logger.exception(
                "Job %s cannot be written now",
                self._task_id,
                extra=name_job(self._task_id, self._task.name),
            )
            return self._own is None

    def _columns(self, body: Any, publish: Mapping[str, Any]) -> tuple[Row, Mapping[str, Any]]:
        task, app = self._task, self._task.app
        headers = publish["headers"]
        route = message.undelayed_route(task, publish, self._options, body[:2])
        options = resolve_options(
            task._checked_options,  # type: ignore[attr-defined]  # noqa: SLF001 - our own base's
            headers.get(message.OPTIONS_HEADER) or {},
        )
        kept = message.take_apart(body, publish, route)
        start = {"task": task.name, **kept, **start_columns(options)}
        wait = _seconds_until(app, headers.get("eta"))
        settings = self._installation.settings
        # What is sent after a commit may be forgotten by a process that dies: soon, then.
        grace = settings.resume_grace if self._is_deferred else settings.pending_grace
        return start, {**self._expires, "wake_in": wait + grace}

    def _insert(self, start: Row, timing: Mapping[str, Any]) -> bool:
        where: dict[str, Any] = {
            "namespace": self._installation.namespace,
            "job_id": self._task_id,
            "start": start,
            **timing,
        }
        with self._place.alone() as tx:
            self._row = attempts.insert_job(tx, **where)
        # The step of a replacement that carries the id of the job that it replaces.
        if self._row is None and self._options.get("replaced_task_nesting"):
            with self._place.transaction() as tx:
                self._row = attempts.begin_next_attempt(
                    tx, **where, row=None, claim=None, state=states.PENDING, event="continued"
                )
        if self._row is None:
            logger.info(
                "Job %s exists already; it is not started again",
                self._task_id,
                extra=name_job(self._task_id, self._task.name),
            )
        return self._row is not None

    def _begin_next_attempt(self, own: Delivery, start: Row, timing: Mapping[str, Any]) -> bool:
        is_retry = self._options.get("retries", 0) > own.request.retries
        self._row = own.begin_next_attempt(start, timing, is_retry=is_retry)
        if self._row is None:
            logger.info(
                "Job %s was completed meanwhile; no next attempt",
                self._task_id,
                extra=name_job(self._task_id, self._task.name),
            )
        return self._row is not None

    def give_up(self, exc: BaseException) -> Any:
        """The message could not be sent: take the row back, or leave it to the sweep."""
        row = self._row
        if row is None or self._is_deferred:
            return None
        try:
            if self._own is not None and isinstance(exc, Exception):
                logger.warning(
                    "Job %s will be sent by the sweep: %r",
                    self._task_id,
                    exc,
                    extra=name_job(self._task_id, self._task.name),
                )
                wake_in(self._installation, row, self._installation.settings.resume_grace)
                return self._task.AsyncResult(self._task_id)
            if row["attempt"] == 1:
                with self._installation.database.alone() as tx:
                    attempts.delete_unsent(tx, self._installation.namespace, self._task_id)
        except DatabaseUnavailableError:
            logger.exception(
                "Job %s has a row, and no message yet",
                self._task_id,
                extra=name_job(self._task_id, self._task.name),
            )
        return None


class RowFirst:
    """A kombu Producer that has the row written before it publishes the task's message."""

    def __init__(self, producer: Any, call: Call) -> None:
        self._producer = producer
        self._call = call

    def __getattr__(self, name: str) -> Any:
        return getattr(self._producer, name)

    def publish(self, body: Any, **publish: Any) -> Any:
        """Publish, unless it is a task message that the row says not to send."""
        headers = publish.get("headers") or {}
        # Celery publishes its "task-sent" event through the same producer.
        if "task" in headers and "id" in headers and not self._call.prepare(body, publish):
            return None
        published = self._producer.publish(body, **publish)
        keep_client(self._producer.channel)
        return published


def _expiry(app: Celery, expires: Any) -> Mapping[str, Any]:
    """``expires`` for the row: it is the deadline for a worker to take the job, no more."""
    if expires is None:
        return {"expires_in": None, "expires_at": None}
    if isinstance(expires, (int, float)):
        if not -MAX_SECONDS <= expires <= MAX_SECONDS:
            raise OptionError("expires", f"must be at most 100 years, not {expires!r}")
        return {"expires_in": float(expires), "expires_at": None}
    return {"expires_in": None, "expires_at": _aware(app, expires)}


def _seconds_until(app: Celery, eta: str | None) -> float:
    return max(0.0, (_aware(app, eta) - app.now()).total_seconds()) if eta else 0.0


def _aware(app: Celery, moment: Any) -> Any:
    parsed: Any = maybe_iso8601(moment)
    return maybe_make_aware(parsed, app.timezone)
