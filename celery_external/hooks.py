"""What a task is asked: methods to override, and decorators that give them to a function task."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeVar

from .errors import ExternalJobTimedOut

if TYPE_CHECKING:
    from .job import Failed, Job, Succeeded


class Unset:
    """Where None means something."""

    def __repr__(self) -> str:
        return "<not set>"


UNSET: Final = Unset()

TimedOutHook = TypeVar("TimedOutHook", bound="Callable[[Job], Any]")
LateSignalHook = TypeVar("LateSignalHook", bound="Callable[[Job, Succeeded | Failed], Any]")


class Hooks:
    """The hooks of an external task."""

    timeout_result: ClassVar[Any] = UNSET

    _timed_out_hook: Callable[[Job], Any] | None = None
    _late_signal_hook: Callable[[Job, Succeeded | Failed], Any] | None = None

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
        if self.timeout_result is not UNSET:
            return self.timeout_result
        raise ExternalJobTimedOut(job.reason or "")

    def timed_out(self, hook: TimedOutHook) -> TimedOutHook:
        """Decorator: ``@render.timed_out`` makes a function the ``on_timeout`` of a task."""
        self._timed_out_hook = hook
        return hook

    def on_late_signal(self, job: Job, outcome: Succeeded | Failed) -> None:
        """Called on a worker when an outcome came too late to count, to make up for it.

        A payment after the timeout is to be refunded. ``job`` is as it stands, with the outcome
        that counts; ``outcome`` is what was refused. It is called at least once: an error is
        logged, and it is called again later. By default: the function given to
        :meth:`late_signal`, or nothing.
        """
        if self._late_signal_hook is not None:
            self._late_signal_hook(job, outcome)

    @property
    def minds_late_signals(self) -> bool:
        """Whether ``on_late_signal`` does anything."""
        is_overridden = type(self).on_late_signal is not Hooks.on_late_signal
        return is_overridden or self._late_signal_hook is not None

    def late_signal(self, hook: LateSignalHook) -> LateSignalHook:
        """Decorator: ``@pay.late_signal`` makes a function the ``on_late_signal`` of a task."""
        self._late_signal_hook = hook
        return hook
