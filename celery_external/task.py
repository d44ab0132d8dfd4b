"""The base class of external tasks, and how a call of one becomes a row and a message."""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar, Final, NoReturn, TypeVar, cast

from billiard.einfo import ExceptionInfo
from celery import Task
from celery import states as celery_states
from celery.app.task import Context
from celery.app.trace import TraceInfo, trace_ok_t
from celery.canvas import Signature
from celery.exceptions import Ignore
from celery.result import EagerResult
from celery.signals import task_postrun
from celery.utils import uuid

from . import message, states
from .backend import SettlingBackend, Undelivered
from .config import (
    CALL_OPTIONS,
    DEFAULT_TRIGGER_TIMEOUT,
    Options,
    check_options,
    check_task_id,
    check_text,
    resolve_options,
)
from .current import CurrentJob
from .delivery import delivery_of
from .errors import (
    EagerCanvasError,
    ExternalJobCancelled,
    ExternalJobTimedOut,
    NoCurrentJobError,
    OptionError,
)
from .installation import installation_of
from .limits import warn_of_group
from .outcome import replace
from .starting import Call, RowFirst, freeze, take_call_options, watch_options
from .trigger import Parked, execute
from .unlock import watch_unlock

if TYPE_CHECKING:
    from celery import Celery

    from .job import Job

logger = logging.getLogger("celery_external")


class _Unset:
    def __repr__(self) -> str:
        return "<not set>"


_UNSET: Final = _Unset()

TimedOutHook = TypeVar("TimedOutHook", bound="Callable[[Job], Any]")


class ExternalTask(Task):  # type: ignore[type-arg]  # generic at run time from Celery 5.7 only
    """A task whose outcome comes from outside Celery.

    ``run()`` is the *trigger*: it starts the outside work and returns. The job then waits as a
    row in an SQL database, without a worker, until :func:`signal_succeeded`,
    :func:`signal_failed`, a deadline or :func:`cancel_job` ends it; then the chain, chord, group
    or callback it belongs to goes on as if ``run()`` had returned or raised the outcome.

    A trigger that returns :class:`Succeeded` or :class:`Failed` ends its job at once. Whatever
    else it returns is kept as ``Job.trigger_result``.

    Class attributes (options of ``@app.task``), in seconds; also per call, through
    ``apply_async`` and ``.set``:

    Attributes:
        timeout: From the park until the job fails with ExternalJobTimedOut. None: never.
        heartbeat_timeout: A parked job without a progress signal for so long times out.
        trigger_timeout: A trigger that runs longer is lost (TriggerLostError). Default: an hour.
        labels: Texts to filter by; a call's labels are added.
        meta: JSON to show; a call's meta is added.
        timeout_result: What a timed-out job returns, in place of failing.

    Per call only: ``deadline``, an aware datetime that counts in every open state.

    Raises:
        OptionError: From ``apply_async``, naming the option; nothing has been written.
    """

    abstract = True
    Request = "celery_external.request:ExternalRequest"
    #: The row says STARTED; a STARTED in the result backend could overwrite an outcome.
    track_started = False

    timeout: ClassVar[float | None] = None
    heartbeat_timeout: ClassVar[float | None] = None
    trigger_timeout: ClassVar[float] = DEFAULT_TRIGGER_TIMEOUT
    labels: ClassVar[tuple[str, ...]] = ()
    meta: ClassVar[Mapping[str, Any] | None] = None
    timeout_result: ClassVar[Any] = _UNSET

    _timed_out_hook: Callable[[Job], Any] | None = None
    _checked_options: Mapping[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "run" in cls.__dict__:
            cls.run = _wrap_run(cls.__dict__["run"])  # type: ignore[method-assign]
        given = {name: getattr(cls, name) for name in CALL_OPTIONS if name != "deadline"}
        cls._checked_options = check_options(given)

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Check the settings as soon as the task belongs to an app."""
        super().on_bound(app)
        installation_of(app)
        watch_options(app)
        watch_unlock(app)

    # --- Hooks to override ---

    def on_parked(self, job: Job) -> None:
        """Called on the worker when the job has parked. An error is logged, the job waits on."""

    def on_timeout(self, job: Job) -> Any:
        """Called once when the job has timed out, on the worker that hands the outcome on.

        What it returns is the job's result, or a Signature to go on with; what it raises is the
        job's failure. By default: ``timeout_result``, the function given to :meth:`timed_out`,
        or ExternalJobTimedOut.
        """
        if self._timed_out_hook is not None:
            return self._timed_out_hook(job)
        if self.timeout_result is not _UNSET:
            return self.timeout_result
        raise ExternalJobTimedOut(job.reason or "")

    def timed_out(self, hook: TimedOutHook) -> TimedOutHook:
        """Decorator: ``@render.timed_out`` makes a function the ``on_timeout`` of a task."""
        self._timed_out_hook = hook
        return hook

    # --- What a trigger uses ---

    @property
    def job(self) -> CurrentJob:
        """The job whose trigger is running; the same as ``current_job``.

        Raises:
            NoCurrentJobError: No trigger of this task runs here.
        """
        delivery = delivery_of(self.request)
        if delivery is None or delivery.current is None:
            raise NoCurrentJobError
        return delivery.current

    # --- Starting ---

    def apply_async(  # noqa: PLR0917 - Celery's signature
        self,
        args: Any = None,
        kwargs: Any = None,
        task_id: str | None = None,
        producer: Any = None,
        link: Any = None,
        link_error: Any = None,
        shadow: str | None = None,
        **options: Any,
    ) -> Any:
        """As :meth:`celery.app.task.Task.apply_async`, with the options of the class docstring.

        The job is a row in the database before its message is sent. A task id that is a job
        already is not started again. With ``using=`` the row is written in that transaction, and
        the message sent after its commit (see :meth:`External.signal_succeeded`).

        Raises:
            OptionError: An option is wrong; nothing has been written.
            DatabaseUnavailableError: There is no row and no message. (Inside a worker's task
                the message is sent all the same, and the job gets its row at the trigger.)
            kombu.exceptions.OperationalError: The broker is away; there is no row.
        """
        task_id = uuid() if task_id is None else check_task_id(task_id)
        if shadow is not None:
            check_text("shadow", shadow)
        take_call_options(options)
        using = options.pop("using", None)
        link, link_error = freeze(self.app, link), freeze(self.app, link_error)
        if self.app.conf.task_always_eager:
            if using is not None:
                raise OptionError("using", "has no meaning in eager mode: the trigger runs now")
            return super().apply_async(
                args, kwargs, task_id, producer, link, link_error, shadow, **options
            )
        warn_of_group(self, options)
        expires = options.pop("expires", self.expires)
        call = Call(self, task_id, expires, options, using)
        connection = options.pop("connection", None)
        if connection is not None:
            producer = self.app.amqp.Producer(connection, auto_declare=False)
        with self.app.producer_or_acquire(producer) as real:
            try:
                return super().apply_async(
                    args, kwargs, task_id, cast("Any", RowFirst(real, call)), link, link_error,
                    shadow, expires=cast("Any", None), **options,
                )  # fmt: skip
            except BaseException as exc:
                result = call.give_up(exc)
                if result is None:
                    raise
                return result

    def apply(self, args: Any = None, kwargs: Any = None, **options: Any) -> EagerResult[Any]:  # type: ignore[override]
        """Run the trigger here; a parked job is an EagerResult in state PARKED.

        A signal then has Celery go on in the signalling process.
        """
        take_call_options(options)
        result = super().apply(args, kwargs, **options)
        if isinstance(result.result, Parked):
            return ParkedResult(result.id, self.name)
        return result

    def retry(  # type: ignore[override]
        self,
        args: Any = None,
        kwargs: Any = None,
        exc: Exception | None = None,
        throw: bool = True,  # noqa: FBT001, FBT002 - Celery's signature
        **options: Any,
    ) -> Any:
        """As Celery's, but no retry of a cancelled job, nor of one past its ``deadline``."""
        if isinstance(exc, ExternalJobCancelled):
            raise exc
        delivery = delivery_of(self.request)
        if exc is not None and delivery is not None and delivery.is_past_call_deadline:
            raise exc
        if delivery is None or not self.request.is_eager:
            return super().retry(args, kwargs, exc, throw, **options)
        retry: Any = super().retry(args, kwargs, exc, throw=False, **options)
        headers = {**(self.request.headers or {})}
        headers[message.ATTEMPT_HEADER] = delivery.retry_eagerly()
        retry.sig.set(headers=headers)
        if throw:
            raise retry
        return retry

    def resolve_options(self, request: Context) -> Options:
        """The options of the job that a request is for: the task's and the call's."""
        headers = {**(request.headers or {}), **request.__dict__}
        return resolve_options(self._checked_options, headers.get(message.OPTIONS_HEADER) or {})

    # --- Where Celery asks the task ---

    @property
    def backend(self) -> Any:
        """The app's result backend, behind a delegate that settles the row."""
        return SettlingBackend(super().backend)

    @backend.setter
    def backend(self, value: Any) -> None:
        self._backend = value

    @property
    def __trace__(self) -> Any:
        return self.__dict__.get("_tracer")

    @__trace__.setter
    def __trace__(self, tracer: Any) -> None:
        self.__dict__["_tracer"] = _wrap_tracer(tracer)

    def on_replace(self, sig: Signature[Any]) -> Any:
        """Keep the replacement in the row before it is sent, so that it cannot be lost."""
        delivery = delivery_of(self.request)
        return super().on_replace(sig) if delivery is None else replace(delivery, sig)

    def send_replacement(self, sig: Signature[Any]) -> Any:
        """Celery's own end of ``replace``: sends the step and raises Ignore; eager: its result."""
        return super().on_replace(sig)


class ParkedResult(EagerResult):  # type: ignore[type-arg]  # generic from Celery 5.7 on
    """What an eager call of a parked job returns: it has no result to give yet."""

    def __init__(self, job_id: str, name: str | None) -> None:
        super().__init__(job_id, None, states.PARKED)
        self._name = name

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


def _wrap_run(run: Any) -> Any:
    """The user's ``run``, entered only when the row says that the trigger is to run.

    Wrapped in the class, so that ``autoretry_for``, which wraps the instance's ``run``, sees the
    outcome; ``__call__`` stays the user's.
    """
    is_static = isinstance(run, staticmethod)
    function = run.__func__ if is_static else run

    @functools.wraps(function)
    def deliver(self: ExternalTask, *args: Any, **kwargs: Any) -> Any:
        bound = function if is_static else functools.partial(function, self)
        request = self.request
        if request.called_directly or delivery_of(request) is not None:
            return bound(*args, **kwargs)
        return execute(installation_of(self.app), self, functools.partial(bound, *args, **kwargs))

    if is_static:
        # inspect looks through __wrapped__, and would take the first argument for self.
        own = inspect.Parameter("self", inspect.Parameter.POSITIONAL_ONLY)
        signature = inspect.signature(function)
        deliver.__signature__ = signature.replace(  # type: ignore[attr-defined]
            parameters=[own, *signature.parameters.values()]
        )
    return deliver


def _wrap_tracer(tracer: Any) -> Any:
    """Celery's tracer, which Undelivered leaves as if the task had raised Ignore."""
    if tracer is None:
        return None

    @functools.wraps(tracer)
    def trace(task_id: str, args: Any, kwargs: Any, request: Any = None) -> Any:
        try:
            return tracer(task_id, args, kwargs, request)
        except Undelivered as exc:
            ignore = Ignore(f"not delivered, owed: {exc.problem!r}")
            try:
                raise ignore
            except Ignore:
                info = ExceptionInfo(internal=True)
            return trace_ok_t(info, TraceInfo(celery_states.IGNORED, ignore), 0.0, None)

    return trace


@task_postrun.connect
def release_what_is_owed(sender: Any = None, **_kwargs: Any) -> None:
    """The only signal that Celery always fires: an outcome that was not handed on stays owed."""
    if isinstance(sender, ExternalTask):
        delivery = delivery_of(sender.request)
        if delivery is not None:
            delivery.release()
