"""A task as Celery's tracer and worker see it: what they ask of it keeps its row in step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .backend import SettlingBackend
from .delivery import delivery_of
from .generic import GenericTask, P, R
from .outcome import replace
from .results import ExternalResult
from .wrapping import wrap_tracer

if TYPE_CHECKING:
    from celery.canvas import Signature


class TracedTask(GenericTask[P, R]):
    """The side of an external task that Celery deals with."""

    abstract = True
    Request = "celery_external.request:ExternalRequest"
    #: The row says STARTED; a STARTED in the result backend could overwrite an outcome.
    track_started = False

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
        self.__dict__["_tracer"] = wrap_tracer(tracer)

    def AsyncResult(self, task_id: str, **options: Any) -> ExternalResult:  # noqa: N802 - Celery's
        """The result of a job, whose ``revoke`` cancels it; every call of the task returns one."""
        found = {"backend": self.backend, "task_name": self.name, "app": self.app, **options}
        return ExternalResult(task_id, **found)

    def on_replace(self, sig: Signature[Any]) -> Any:
        """Keep the replacement in the row before it is sent, so that it cannot be lost."""
        delivery = delivery_of(self.request)
        return super().on_replace(sig) if delivery is None else replace(delivery, sig)

    def send_replacement(self, sig: Signature[Any]) -> Any:
        """Celery's own end of ``replace``: sends the step and raises Ignore; eager: its result."""
        return super().on_replace(sig)
