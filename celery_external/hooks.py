"""What a task is asked: methods to override, and decorators that give them to a function task."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Final, TypeAlias, TypeVar

from .errors import ExternalJobTimedOut, OptionError

if TYPE_CHECKING:
    from .job import Failed, Job, Progress, Succeeded


class Unset:
    """Where None means something."""

    def __repr__(self) -> str:
        return "<not set>"


UNSET: Final = Unset()

TimedOutHook = TypeVar("TimedOutHook", bound="Callable[[Job], Any]")
#: What a poller says: of each job that it has news of, an outcome or how far it is.
Answers: TypeAlias = "Iterable[tuple[Job | str, Succeeded | Failed | Progress | None]] | None"
Poller = TypeVar("Poller", bound="Callable[[Sequence[Job]], Answers]")
LateSignalHook = TypeVar("LateSignalHook", bound="Callable[[Job, Succeeded | Failed], Any]")


class Hooks:
    """The hooks of an external task."""

    timeout_result: ClassVar[Any] = UNSET
    poll_interval: ClassVar[float | None] = None
    poll_backoff: ClassVar[float] = 1.0
    poll_interval_max: ClassVar[float | None] = None

    _timed_out_hook: Callable[[Job], Any] | None = None
    _poller: Callable[[Sequence[Job]], Answers] | None = None
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

    def poll(self, jobs: Sequence[Job]) -> Answers:
        """Ask the outside world how these parked jobs are; called on a worker.

        Returns or yields ``(job, outcome)`` pairs, the outcome Succeeded, Failed or Progress.
        Each counts as soon as it is yielded. A job of which nothing is said, or None, is polled
        again after its interval; so are all that are left when this raises. By default: the
        function given to :meth:`poller`.

        Raises:
            OptionError: There is no poller.
        """
        if self._poller is None:
            raise OptionError(
                "poll_interval",
                "there is no poller: define poll(self, jobs), or decorate a function with "
                "@<task>.poller",
            )
        return self._poller(jobs)

    def poller(self, hook: Poller) -> Poller:
        """Decorator: ``@render.poller`` makes a function the ``poll`` of a task."""
        self._poller = hook
        return hook

    def on_late_signal(self, job: Job, outcome: Succeeded | Failed) -> None:
        """Called on a worker when an outcome came too late to count, to make up for it.

        A payment after the timeout is to be refunded. ``job`` is as it stands, with the outcome
        that counts, but its attempt and reference are those that ``outcome``, which was refused,
        was for. It is called at least once: an error is logged, and it is called again later. By
        default: the function given to :meth:`late_signal`, or nothing.
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
