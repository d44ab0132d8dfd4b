"""celery-external: Celery tasks that park, as a row in SQL, until the outside world answers."""

from __future__ import annotations

import typing as _typing

from . import processes as _processes  # noqa: F401 - connects to Celery's signals
from .api import (
    cancel_job,
    extend_job,
    find_jobs,
    get_job,
    lock_job,
    rerun_job,
    signal_failed,
    signal_progress,
    signal_succeeded,
)
from .current import current_job
from .errors import (
    AmbiguousJobError,
    DatabaseUnavailableError,
    EagerCanvasError,
    ExternalError,
    ExternalJobCancelled,
    ExternalJobFailed,
    ExternalJobTimedOut,
    JobAlreadyCompletedError,
    JobNotFoundError,
    NoCurrentJobError,
    OptionError,
    ReferenceTakenError,
    RerunRefusedError,
    ResultInvalidError,
    SchemaError,
    SettingsError,
    SignatureRefusedError,
    StaleAttemptError,
    TokenRefusedError,
    TriggerLostError,
    UnserializableError,
)
from .extension import External, get_external
from .job import Failed, HistoryEntry, Job, Page, Progress, Receipt, Succeeded
from .locking import LockedJob
from .task import ExternalTask

if _typing.TYPE_CHECKING:
    from .figures import Count, Finding, Stats, TaskStats, Timeline

__all__ = [
    "AmbiguousJobError",
    "Count",
    "DatabaseUnavailableError",
    "EagerCanvasError",
    "External",
    "ExternalError",
    "ExternalJobCancelled",
    "ExternalJobFailed",
    "ExternalJobTimedOut",
    "ExternalTask",
    "Failed",
    "Finding",
    "HistoryEntry",
    "Job",
    "JobAlreadyCompletedError",
    "JobNotFoundError",
    "LockedJob",
    "NoCurrentJobError",
    "OptionError",
    "Page",
    "Progress",
    "Receipt",
    "ReferenceTakenError",
    "RerunRefusedError",
    "ResultInvalidError",
    "SchemaError",
    "SettingsError",
    "SignatureRefusedError",
    "StaleAttemptError",
    "Stats",
    "Succeeded",
    "TaskStats",
    "Timeline",
    "TokenRefusedError",
    "TriggerLostError",
    "UnserializableError",
    "cancel_job",
    "current_job",
    "extend_job",
    "find_jobs",
    "get_external",
    "get_job",
    "lock_job",
    "rerun_job",
    "signal_failed",
    "signal_progress",
    "signal_succeeded",
]

# Not for the type checker, which would believe that there is any name.
if not _typing.TYPE_CHECKING:

    def __getattr__(name: str) -> object:
        """What is imported by who looks at figures only."""
        if name not in __all__:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from . import figures  # noqa: PLC0415

        globals()[name] = found = getattr(figures, name)
        return found

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
