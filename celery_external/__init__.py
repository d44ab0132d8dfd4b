"""celery-external: Celery tasks that park, as a row in SQL, until the outside world answers."""

from __future__ import annotations

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

__all__ = [
    "AmbiguousJobError",
    "DatabaseUnavailableError",
    "EagerCanvasError",
    "External",
    "ExternalError",
    "ExternalJobCancelled",
    "ExternalJobFailed",
    "ExternalJobTimedOut",
    "ExternalTask",
    "Failed",
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
    "Succeeded",
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
