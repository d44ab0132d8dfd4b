"""The real thing that the model is compared with: an app, its database, its broker, deliveries.

A delivery is Celery's own: its request, its tracer, the task's `run`. It runs in a thread, which
stops wherever an app's user has code of his own to stop it: in the trigger, in `on_timeout`, before
a message is published (`before_task_publish`), and in the result backend. There the test decides
how it goes on, or never lets it go on: then its process has died.

Time passes by the database's clock, which this module sets.
"""

from __future__ import annotations

import copy
import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from typing import Any

import sqlalchemy as sa
from billiard.einfo import ExceptionInfo
from billiard.exceptions import WorkerLostError
from celery.backends.base import BaseBackend
from celery.exceptions import Ignore, Reject
from celery.signals import before_task_publish
from celery.worker import state as worker_state
from kombu import Message
from kombu.exceptions import EncodeError
from sqlalchemy import event

from celery_external import ExternalJobFailed, ExternalJobTimedOut, ExternalTask, Failed, Succeeded
from celery_external.message import ATTEMPT_HEADER
from celery_external.request import ExternalRequest
from celery_external.schema import history, job
from celery_external.store.database import Row
from tests.model.values import OVER, PARKING, PUBLISHING, TELLING, TIMEOUT, TRIGGER
from tests.rows import Rows, ask

NEXT_QUEUE = "next"
#: Seconds for a delivery to come to its next stop.
PATIENCE = 5


class Abandoned(BaseException):
    """Ends the thread of a delivery whose process has died long ago."""


class Delivery:
    """A delivery under way in a thread of its own."""

    _here: ContextVar[Delivery | None] = ContextVar("delivery", default=None)

    def __init__(self, request: Any) -> None:
        self.request = request
        self.at = ""
        self._command: str | None = ""
        self._error: BaseException | None = None
        self._turn = threading.Semaphore(0)
        self._stopped = threading.Semaphore(0)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        self.go("")

    def go(self, command: str | None) -> None:
        """Have it go on to its next stop; None: it ends where it is."""
        self._command = command
        self._turn.release()
        assert self._stopped.acquire(timeout=PATIENCE), f"the delivery hangs after {self.at!r}"
        if self._error is not None:
            raise self._error

    def bury(self) -> None:
        """Have the thread end."""
        if self.at != OVER:
            self.go(None)
        self._thread.join(PATIENCE)

    @classmethod
    def stop(cls, where: str) -> str:
        """In a delivery's thread: wait to be told how to go on."""
        delivery = cls._here.get()
        return "" if delivery is None else delivery.wait_at(where)

    def wait_at(self, where: str) -> str:
        self.at = where
        self._stopped.release()
        self._turn.acquire()
        if self._command is None:
            raise Abandoned
        return self._command

    def _run(self) -> None:
        self._turn.acquire()
        self._here.set(self)
        try:
            self.request.execute()
        except Abandoned:
            pass
        except BaseException as exc:  # noqa: BLE001 - for the test's own thread
            self._error = exc
        self.at = OVER
        self._stopped.release()


class Ledger(BaseBackend):
    """A result backend that writes down what it is told, and stops there."""

    app: Any

    def _store_result(self, task_id: str, result: Any, state: str, *_: Any, **__: Any) -> None:
        if state == "PARKED":
            Delivery.stop(PARKING)
        elif state in {"SUCCESS", "FAILURE"}:
            match Delivery.stop(TELLING):
                case "refused" if state == "SUCCESS":
                    raise EncodeError("not this")
                case "failed" | "refused":
                    raise ConnectionError("the result backend is away")
            said = result["exc_type"] if state == "FAILURE" else result
            self.app.told.append((task_id, state, said))


def run_trigger(self: Any) -> Any:
    """A trigger that does what it is told."""
    while (how := Delivery.stop(TRIGGER)) == "refer":
        self.job.reference = f"{self.job.id} {self.job.attempt}"
    ends: dict[str, Callable[[], Any]] = {
        "return": lambda: None,
        "succeed": lambda: Succeeded(7),
        "fail": lambda: Failed("own"),
        "raise": lambda: _raise(RuntimeError("own")),
        "ignore": lambda: _raise(Ignore()),
        "reject": lambda: _raise(Reject("no", requeue=False)),
        "retry": lambda: self.retry(countdown=0),
        "retry_quietly": lambda: self.retry(countdown=0, throw=False) and None,
        "replace": lambda: self.replace(self.app.tasks["model.ask"].s()),
        "step": lambda: self.replace(self.app.tasks["model.step"].si()),
    }
    return ends[how]()


def _raise(exc: Exception) -> None:
    raise exc


class World(Rows):
    """The app, and everything that happens to its jobs."""

    def __init__(self, database_url: str, broker_url: str) -> None:
        super().__init__(
            database_url,
            broker_url=broker_url,
            result_backend="tests.model.world:Ledger",
            task_routes={"model.step": NEXT_QUEUE},
            # One list a queue, which is quicker to look at.
            broker_transport_options={"priority_steps": [0]},
        )
        #: What the result backend was told: job, state, and result or the exception's class.
        self.told: list[tuple[str, str, Any]] = []
        self.app.told = self.told  # type: ignore[attr-defined]
        self._ahead = timedelta(0)
        of_all: dict[str, Any] = {"base": ExternalTask, "bind": True, "shared": False}
        retried: dict[str, Any] = {
            "autoretry_for": (ExternalJobFailed,),
            "retry_kwargs": {"countdown": 0},
        }
        make: Any = self.app.task
        plain: Any = make(name="model.ask", max_retries=2, **of_all)(run_trigger)
        again: Any = make(name="model.ask_again", max_retries=2, **of_all, **retried)(run_trigger)
        self.tasks = {False: plain, True: again}
        for task in self.tasks.values():
            task.timed_out(self._answer)
        step: Any = make(name="model.step", shared=False)
        self.step: Any = step(ask)
        self.app.finalize()
        self.messages: dict[tuple[str, int], Any] = {}
        self._deliveries: list[Delivery] = []
        self._connection = self.app.connection_for_read()
        self._channel: Any = self._connection.default_channel
        if self.database.dialect_name == "sqlite":
            event.listen(self.database.engine, "connect", self._set_sqlites_clock)
            self.database.dispose()

    def _answer(self, asked: Any) -> Any:
        match Delivery.stop(TIMEOUT):
            case "answer":
                return "late"
            case "raise":
                raise LookupError("nobody")
            case "replace":
                return self.tasks[False].si()
            case "step":
                return self.step.si()
        raise ExternalJobTimedOut(asked.reason)

    def close(self) -> None:
        """Let go of connections."""
        self._connection.release()
        super().close()

    # --- Time ---

    def _set_sqlites_clock(self, connection: Any, _record: object) -> None:
        def strftime(_format: str, _now: str, after: str | None = "0 seconds") -> str | None:
            if after is None:
                return None
            wait = timedelta(seconds=float(after.removesuffix(" seconds")))
            return f"{datetime.now(UTC) + self._ahead + wait:%Y-%m-%d %H:%M:%S.%f}"

        connection.create_function("strftime", -1, strftime)

    def set_clock(self, seconds: float) -> None:
        """Have the database's clock go so much ahead of everybody else's."""
        self._ahead = timedelta(seconds=seconds)
        if self.database.dialect_name == "postgresql":
            with self.database.engine.connect() as connection:
                connection.execute(sa.text("UPDATE clock.ahead SET by = :by"), {"by": self._ahead})

    def at(self, seconds: float | None) -> datetime | None:
        """A time of the model's clock; there the beginning is now."""
        return None if seconds is None else datetime.now(UTC) + timedelta(seconds=seconds)

    def seconds(self, moment: datetime | None) -> float | None:
        """The same, the other way round."""
        return None if moment is None else (moment - datetime.now(UTC)).total_seconds()

    # --- What a test does ---

    @contextmanager
    def example(self) -> Iterator[None]:
        """Begin with nothing, and leave no thread behind."""
        self.set_clock(0)
        with self.database.engine.connect() as connection:
            connection.execute(sa.delete(history))
            connection.execute(sa.delete(job))
        self._channel.client.flushdb()
        self.messages.clear()
        self.told.clear()
        before_task_publish.connect(self._before_publish)
        try:
            yield
        finally:
            before_task_publish.disconnect(self._before_publish)
            for delivery in self._deliveries:
                delivery.bury()
            self._deliveries.clear()

    def _before_publish(self, **_kwargs: Any) -> None:
        Delivery.stop(PUBLISHING)

    def deliver(self, job_id: str, attempt: int, *, redelivered: bool, revoked: bool) -> Delivery:
        """Deliver the message of an attempt, as often as a test likes."""
        kept = self.messages[job_id, attempt]
        message = Message(
            body=kept.body,
            headers=copy.deepcopy(kept.headers),
            properties=kept.properties,
            content_type=kept.content_type,
            content_encoding=kept.content_encoding,
            delivery_info={**kept.delivery_info, "redelivered": redelivered},
        )
        task = self.app.tasks[kept.headers["task"]]
        request = ExternalRequest(message, app=self.app, task=task, hostname="model")
        if revoked:
            worker_state.revoked.add(job_id)
        try:
            made = Delivery(request)
        finally:
            worker_state.revoked.discard(job_id)
        self._deliveries.append(made)
        return made

    def lose(self, delivery: Delivery) -> None:
        """Tell the main process of a worker that its child is gone."""
        try:
            _raise(WorkerLostError("killed"))
        except WorkerLostError:
            delivery.request.on_failure(ExceptionInfo(internal=True))

    # --- What a test sees ---

    def rows(self) -> dict[str, Row]:
        """All jobs."""
        with self.database.engine.connect() as connection:
            found = connection.execute(sa.select(job)).mappings()
            return {row["id"]: dict(row) for row in found}

    def histories(self) -> dict[str, list[tuple[str, int]]]:
        """The history of each job."""
        lines: dict[str, list[tuple[str, int]]] = defaultdict(list)
        query = sa.select(history.c.job_id, history.c.event, history.c.attempt)
        with self.database.engine.connect() as connection:
            for job_id, event, attempt in connection.execute(query.order_by(history.c.id)):
                lines[job_id].append((event, attempt))
        return lines

    def new_messages(self) -> Counter[tuple[str, int]]:
        """What was sent since the last look, by job and attempt; it can be delivered now."""
        found: Counter[tuple[str, int]] = Counter()
        while message := self._channel.basic_get(self.queue, no_ack=True):
            key = message.headers["id"], message.headers[ATTEMPT_HEADER]
            self.messages[key] = message
            found[key] += 1
        return found

    def new_steps(self) -> list[tuple[str, str]]:
        """The next steps that were sent since the last look: their ids and their jobs'."""
        found = []
        while message := self._channel.basic_get(NEXT_QUEUE, no_ack=True):
            found.append((message.headers["id"], message.headers["parent_id"]))
        return found
