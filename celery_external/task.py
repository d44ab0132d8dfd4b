"""The base class of external tasks, and how a call of one becomes a row and a message."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, cast, overload

from celery.app.task import Context
from celery.result import AsyncResult, EagerResult
from celery.signals import task_postrun
from celery.utils import uuid

from . import completion, message, references
from .checks import check_task_id, check_text
from .config import (
    CALL_OPTIONS,
    DEFAULT_TRIGGER_TIMEOUT,
    Options,
    Polling,
    check_options,
    check_polling,
    resolve_options,
)
from .current import CurrentJob
from .delivery import delivery_of
from .errors import (
    ExternalJobCancelled,
    NoCurrentJobError,
    OptionError,
    ResultInvalidError,
)
from .generic import P, R
from .hooks import UNSET, Hooks
from .installation import installation_of
from .job import Failed, Receipt, Succeeded
from .limits import warn_of_group
from .naming import JobLike
from .outcome import is_signature
from .question import Question, check_question
from .result_type import ResultType
from .results import ParkedResult
from .starting import Call, RowFirst, freeze, take_call_options, watch_options
from .traced import TracedTask
from .trigger import Parked
from .unlock import watch_unlock
from .wrapping import wrap_run

if TYPE_CHECKING:
    from celery import Celery


logger = logging.getLogger("celery_external")


class ExternalTask(Hooks, TracedTask[P, R]):
    """A task whose outcome comes from outside Celery.

    ``run()`` is the *trigger*: it starts the outside work and returns. The job then waits as a
    row in an SQL database, without a worker, until :func:`signal_succeeded`,
    :func:`signal_failed`, a deadline or :func:`cancel_job` ends it; then the chain, chord, group
    or callback it belongs to goes on as if ``run()`` had returned or raised the outcome.

    A trigger that returns :class:`Succeeded` or :class:`Failed` ends its job at once. Whatever
    else it returns is kept as ``Job.trigger_result``.

    Class attributes (options of ``@app.task``), in seconds; the first five also per call, through
    ``apply_async`` and ``.set``:

    Attributes:
        timeout: From the park until the job fails with ExternalJobTimedOut. None: never.
        heartbeat_timeout: A parked job without a progress signal for so long times out.
        trigger_timeout: A trigger that runs longer is lost (TriggerLostError). Default: an hour.
        labels: Texts to filter by; a call's labels are added.
        meta: JSON to show; a call's meta is added.
        timeout_result: What a timed-out job returns, in place of failing.
        result_type: A type that results must be of; whatever pydantic validates. They are kept
            as the type's JSON. None: anything.
        choices: What somebody may choose from who is asked to decide.
        form: A pydantic model of what is asked beside; its fields are in the result.
        poll_interval: Seconds from the park to the first poll, and between two. None: no polls.
        poll_backoff: Factor by which the interval grows with each poll. Default: 1.
        poll_interval_max: Seconds beyond which it does not grow. Default: an hour, or
            ``poll_interval`` if that is more.

    Per call only: ``deadline``, an aware datetime that counts in every open state.

    For type checkers it is generic: ``ExternalTask[[str], Video]`` has a trigger that takes a
    text, and jobs whose result is a Video. That checks nothing at run time; ``result_type`` does.

    Raises:
        OptionError: From ``apply_async``, naming the option; nothing has been written.
    """

    abstract = True

    timeout: ClassVar[float | None] = None
    heartbeat_timeout: ClassVar[float | None] = None
    trigger_timeout: ClassVar[float] = DEFAULT_TRIGGER_TIMEOUT
    labels: ClassVar[tuple[str, ...]] = ()
    meta: ClassVar[Mapping[str, Any] | None] = None
    result_type: ClassVar[Any] = None
    checked_result_type: ClassVar[ResultType | None] = None
    polling: ClassVar[Polling | None] = None
    choices: ClassVar[Sequence[str] | None] = None
    form: ClassVar[type[Any] | None] = None
    question: ClassVar[Question | None] = None

    _checked_options: Mapping[str, Any]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        if "run" in cls.__dict__:
            cls.run = wrap_run(cls.__dict__["run"])  # type: ignore[method-assign]
        given = {name: getattr(cls, name) for name in CALL_OPTIONS if name != "deadline"}
        cls._checked_options = check_options(given)
        cls.checked_result_type = _check_result_type(cls)
        cls.polling = _check_polling(cls)
        cls.question = check_question(cls.question, cls.choices, cls.form)

    @classmethod
    def on_bound(cls, app: Celery) -> None:
        """Check the settings as soon as the task belongs to an app."""
        super().on_bound(app)
        installation_of(app)
        watch_options(app)
        watch_unlock(app)

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

    # --- Signals ---

    @overload
    def signal_succeeded(
        self,
        job: JobLike,
        result: R,
        *,
        attempt: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Receipt: ...
    @overload
    def signal_succeeded(
        self,
        *,
        reference: str,
        result: R,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Receipt: ...
    def signal_succeeded(
        self,
        job: JobLike | None = None,
        result: Any = None,
        *,
        reference: str | None = None,
        attempt: int | None = None,
        by: str | None = None,
        reason: str | None = None,
        using: Any = None,
    ) -> Receipt:
        """As :meth:`External.signal_succeeded` of the task's app, typed.

        In place of ``job`` and ``attempt``: ``reference``, the outside system's own id, which
        names the attempt too. If no job has it yet, the signal is kept for a day and counts when
        a trigger sets it (the Receipt's status is ``kept``).

        Raises:
            OptionError: Neither or both of ``job`` and ``reference`` were given.
        """
        outcome = Succeeded(result)
        return self._signal(job, outcome, reference, attempt=attempt, by=by, reason=reason,
                            using=using)  # fmt: skip

    def signal_failed(
        self,
        job: JobLike | None = None,
        reason: str | BaseException = "",
        *,
        reference: str | None = None,
        attempt: int | None = None,
        by: str | None = None,
        using: Any = None,
    ) -> Receipt:
        """As :meth:`External.signal_failed` of the task's app; or by ``reference``."""
        return self._signal(job, Failed(reason), reference, attempt=attempt, by=by, using=using)

    def _signal(
        self,
        job: JobLike | None,
        outcome: Succeeded | Failed,
        reference: str | None,
        *,
        attempt: int | None,
        **said: Any,
    ) -> Receipt:
        installation = installation_of(self.app)
        if reference is None and job is not None:
            return completion.signal(installation, job, outcome, attempt=attempt, **said)
        if reference is None or job is not None or attempt is not None:
            raise OptionError("reference", "give either a job or a reference, which names both")
        return references.signal(installation, self.name, reference, outcome, **said)

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
    ) -> AsyncResult[R]:
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
                result: AsyncResult[R] | None = call.give_up(exc)
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
            return ParkedResult(result.id, self.name, self.app)
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
            if delivery is not None:
                delivery.refuse_in_transaction()
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


def _check_result_type(cls: type[ExternalTask]) -> ResultType | None:
    """What the class declares, checked as it is made; and that its own timeout_result fits."""
    if cls.result_type is None:
        return None
    known = cls.checked_result_type
    declared = known if known and known.declared is cls.result_type else ResultType(cls.result_type)
    if cls.timeout_result is not UNSET and not is_signature(cls.timeout_result):
        try:
            declared.check("", "", cls.timeout_result)
        except ResultInvalidError as exc:
            raise OptionError(
                "timeout_result", f"is no {cls.result_type!r}: {exc.problem}"
            ) from exc
    return declared


def _check_polling(cls: type[ExternalTask]) -> Polling | None:
    """What the class declares; a function task, or a base of some, gets its poller later."""
    polling = check_polling(cls.poll_interval, cls.poll_backoff, cls.poll_interval_max)
    is_complete = cls.run is not ExternalTask.run and "_decorated" not in cls.__dict__
    is_abstract = cls.__dict__.get("abstract", False)
    if polling and is_complete and not is_abstract and cls.poll is Hooks.poll:
        raise OptionError("poll_interval", "needs a poller: define poll(self, jobs)")
    return polling


@task_postrun.connect
def release_what_is_owed(sender: Any = None, **_kwargs: Any) -> None:
    """The only signal that Celery always fires: an outcome that was not handed on stays owed."""
    if isinstance(sender, ExternalTask):
        delivery = delivery_of(sender.request)
        if delivery is not None:
            delivery.release()
