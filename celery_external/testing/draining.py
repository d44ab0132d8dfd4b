"""The messages in the app's queues, run in this process as a worker would run them."""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery import _state
from celery.exceptions import TaskRevokedError
from celery.result import denied_join_result
from celery.utils.imports import symbol_by_name
from celery.worker.request import create_request_cls  # type: ignore[attr-defined]

from celery_external.errors import ExternalError, OptionError, SettingsError
from celery_external.logs import name_job
from celery_external.unlock import TASK_NAME as CHORD_UNLOCK

if TYPE_CHECKING:
    from celery import Celery

    from celery_external.installation import Installation

logger = logging.getLogger("celery_external")

HOSTNAME = "celery@test-kit"


class DrainLimitError(ExternalError):
    """As many messages were run as ``drain`` may run, and there are still more.

    Most likely a task sends or retries itself without end: an eta is not waited for.
    """

    def __init__(self, limit: int, task: str) -> None:
        super().__init__(limit, task)
        self.limit = limit
        self.task = task

    def __str__(self) -> str:
        return (
            f"{self.limit} messages were run, and the next one is for {self.task}: a task that "
            "sends or retries itself does so without end, because no eta is waited for. If there "
            "really are so many, raise the limit: drain(limit=…)"
        )


def check(installation: Installation) -> None:
    """Refuse an app that is not set up for the kit.

    Raises:
        SettingsError: Its broker is not memory://, or it is eager.
        OptionError: A transaction of Django's is open.
    """
    conf = installation.app.conf
    if conf.task_always_eager:
        raise SettingsError(
            "task_always_eager",
            "eager tasks send no messages: set it to False, or use testing.in_memory(app)",
        )
    with installation.app.connection_for_read() as connection:
        driver = connection.transport.driver_type
    if driver != "memory":
        raise SettingsError(
            "broker_url",
            f"is {driver}, and the test kit takes messages from memory:// only: set it, or use "
            "testing.in_memory(app)",
        )
    if installation.database.defers:
        raise OptionError(
            "atomic",
            "what is signalled or started in an open atomic() is sent after its commit: drain "
            "after it, and in a TransactionTestCase (pytest: django_db(transaction=True))",
        )


def count_waiting(app: Celery) -> int:
    """How many messages wait in the app's queues."""
    with app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        return sum(
            channel.queue_declare(queue.name).message_count for queue in app.amqp.queues.values()
        )


def drain(installation: Installation, limit: int) -> int:
    """Run what is in the queues, and what that sends, until nothing is left.

    Returns:
        How many messages were run.

    Raises:
        DrainLimitError: There were more than ``limit``; what is left stays in the queues.
    """
    check(installation)
    app = installation.app
    # As in a worker to wait for a result is an error: nobody else would bring it about.
    with as_current(app), denied_join_result(), app.connection_for_read() as connection:
        return _Drain(app, connection.default_channel, limit).run()


class _Drain:
    """One call of ``drain``."""

    def __init__(self, app: Celery, channel: Any, limit: int) -> None:
        self._app = app
        self._channel = channel
        self._limit = limit
        self._count = 0
        # `celery.chord_unlock`, which comes again at once for as long as its chord is open.
        self._unlocks: list[Any] = []
        # What is not for this app.
        self._kept: list[Any] = []

    def run(self) -> int:
        try:
            self._run_others()
            while self._unlocks:
                for _ in range(len(self._unlocks)):
                    self._run(self._unlocks.pop(0))
                before = self._count
                self._run_others()
                if self._count == before:
                    # The chords that are left wait for somebody outside.
                    break
        finally:
            for message in (*self._unlocks, *self._kept):
                message.requeue()
        return self._count

    def _run_others(self) -> None:
        while (message := self._take()) is not None:
            name = _task_of(message)
            if name == CHORD_UNLOCK:
                self._unlocks.append(message)
            elif not self._is_known(name):
                logger.warning("There is no task %s here; its message stays in the queue", name)
                self._kept.append(message)
            else:
                self._run(message)

    def _take(self) -> Any:
        # The queues may become more as tasks run.
        for queue in list(self._app.amqp.queues.values()):
            message = queue(self._channel).get()
            if message is not None:
                return message
        return None

    def _is_known(self, name: str) -> bool:
        if name not in self._app.tasks:
            # As a worker does when it starts.
            self._app.loader.import_default_modules()
        return name in self._app.tasks

    def _run(self, message: Any) -> None:
        if self._count == self._limit:
            self._kept.append(message)
            raise DrainLimitError(self._limit, _task_of(message))
        self._count += 1
        task = self._app.tasks[_task_of(message)]
        base = symbol_by_name(task.Request)
        request_class = create_request_cls(base, task, _Here, HOSTNAME, None, app=self._app)
        request = request_class(
            message,
            on_ack=message.ack_log_error,
            on_reject=message.reject_log_error,
            app=self._app,
            hostname=HOSTNAME,
            task=task,
            body=message.body,
            headers=message.headers,
        )
        try:
            request.execute_using_pool(_Here)
        except TaskRevokedError:
            logger.info(
                "Task %s[%s] is revoked",
                task.name,
                request.id,
                extra=name_job(request.id, task.name),
            )


def _task_of(message: Any) -> str:
    return str(message.headers["task"])


class _Here:
    """A pool of no process but this one. As in Celery's solo pool no time limit is kept."""

    @staticmethod
    def apply_async(
        target: Callable[..., Any],
        args: tuple[Any, ...],
        *,
        accept_callback: Callable[[int, float], object],
        callback: Callable[[Any], object],
        error_callback: Callable[[ExceptionInfo], object],
        **_limits: Any,
    ) -> None:
        """Run a task, and tell its request how it went."""
        accept_callback(os.getpid(), time.monotonic())
        try:
            answer = target(*args)
        except SystemExit as exc:
            # It would have ended the worker's process.
            error_callback(_lost(exc))
        except Exception:  # noqa: BLE001 - the request records it
            error_callback(ExceptionInfo())
        else:
            callback(answer)


def _lost(exc: SystemExit) -> ExceptionInfo:
    lost = WorkerLostError(f"Worker exited prematurely: {exc!r}.")
    try:
        raise lost
    except WorkerLostError:
        return ExceptionInfo()


@contextmanager
def as_current(app: Celery) -> Iterator[None]:
    """The app is the current one of this thread; its ``shared_task``s are its own."""
    before = _state._tls.current_app  # type: ignore[attr-defined]  # noqa: SLF001 - asking in public makes an app
    app.set_current()
    try:
        yield
    finally:
        _state._set_current_app(before)  # type: ignore[attr-defined]  # noqa: SLF001 - it may be None
