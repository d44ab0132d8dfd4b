"""Every error of the package; an exception owns its message and takes data."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .job import Job


class ExternalError(Exception):
    """Base of every error that celery-external raises."""


# --- What a caller did wrong -------------------------------------------------------------------


class SettingsError(ExternalError, ValueError):
    """An ``external_*`` setting cannot be used; nothing has been started."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"Setting {self.name}: {self.problem}"


class OptionError(ExternalError, TypeError, ValueError):
    """An option of an external task, a call or a signal cannot be used; nothing was written."""

    def __init__(self, name: str, problem: str) -> None:
        super().__init__(name, problem)
        self.name = name
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.name}: {self.problem}"


class UnserializableError(ExternalError, ValueError):
    """A result, reason or meta value that the serializer refuses; nothing was written."""

    def __init__(self, what: str, serializer: str, problem: str) -> None:
        super().__init__(what, serializer, problem)
        self.what = what
        self.serializer = serializer
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"The {self.what} cannot be written with the serializer {self.serializer!r}: "
            f"{self.problem}"
        )


class ResultInvalidError(ExternalError, ValueError):
    """A result that is not what the task's ``result_type`` says; the job goes on waiting.

    ``problem`` names the fields and what is wrong with them, not what was given.
    """

    def __init__(self, job_id: str, task: str, problem: str) -> None:
        super().__init__(job_id, task, problem)
        self.job_id = job_id
        self.task = task
        self.problem = problem

    def __str__(self) -> str:
        return (
            f"Job {self.job_id}: the result is not of the type that {self.task} declares: "
            f"{self.problem}"
        )


class JobNotFoundError(ExternalError, LookupError):
    """No job has this id (or reference) in this namespace of this database."""

    def __init__(self, job_id: str, namespace: str, database: str) -> None:
        super().__init__(job_id, namespace, database)
        self.job_id = job_id
        self.namespace = namespace
        self.database = database

    def __str__(self) -> str:
        return (
            f"There is no job {self.job_id!r} in namespace {self.namespace!r} of {self.database}. "
            "Is external_database_url the one that the workers use?"
        )


class AmbiguousJobError(ExternalError, LookupError):
    """Several jobs of the canvas are open; ``task=`` or the job's own id says which is meant."""

    def __init__(self, root_id: str, jobs: Sequence[Job]) -> None:
        super().__init__(root_id, jobs)
        self.root_id = root_id
        self.jobs = jobs

    def __str__(self) -> str:
        names = ", ".join(f"{job.task}[{job.id}] ({job.state})" for job in self.jobs)
        return f"Canvas {self.root_id} has {len(self.jobs)} open jobs: {names}. Name one of them"


class JobAlreadyCompletedError(ExternalError):
    """A different outcome came first; :attr:`job` shows the one that counts."""

    def __init__(self, job: Job, attempted: str) -> None:
        super().__init__(job, attempted)
        self.job = job
        self.attempted = attempted

    def __str__(self) -> str:
        said_by = f" by {self.job.completed_by}" if self.job.completed_by else ""
        return (
            f"Job {self.job.id} cannot be {self.attempted}: it was already {self.job.kind}"
            f"{said_by} at {self.job.completed_at} (state {self.job.state})"
        )


class StaleAttemptError(ExternalError):
    """The call named an attempt that is over; it counts for no other."""

    def __init__(self, job_id: str, attempt: int, current: int) -> None:
        super().__init__(job_id, attempt, current)
        self.job_id = job_id
        self.attempt = attempt
        self.current = current

    def __str__(self) -> str:
        return (
            f"Job {self.job_id}: attempt {self.attempt} was named, "
            f"but attempt {self.current} is the open one"
        )


class TokenRefusedError(ExternalError, PermissionError):
    """A token that does not allow this; the log says why, and its holder is not told."""

    def __str__(self) -> str:
        return "The token is not valid"


class SignatureRefusedError(ExternalError, PermissionError):
    """A provider's call without a valid signature of the provider's."""

    def __init__(self, problem: str) -> None:
        super().__init__(problem)
        self.problem = problem

    def __str__(self) -> str:
        return f"The signature is not valid: {self.problem}"


class RerunRefusedError(ExternalError):
    """The trigger of this job cannot be run again; the message says why."""

    def __init__(self, job: Job, problem: str) -> None:
        super().__init__(job, problem)
        self.job = job
        self.problem = problem

    def __str__(self) -> str:
        return f"Job {self.job.id} cannot be run again: {self.problem}"


class ReferenceTakenError(ExternalError):
    """Another job of the same task already carries this reference."""

    def __init__(self, reference: str, task: str) -> None:
        super().__init__(reference, task)
        self.reference = reference
        self.task = task

    def __str__(self) -> str:
        return f"Another job of {self.task} already has the reference {self.reference!r}"


class NoCurrentJobError(ExternalError, RuntimeError):
    """``current_job`` was used where no trigger runs."""

    def __str__(self) -> str:
        return "There is no current job: current_job works inside an external task's trigger"


class EagerCanvasError(ExternalError):
    """Eager mode was asked for what only a worker can do: wait for a parked job."""

    def __init__(self, job_id: str) -> None:
        super().__init__(job_id)
        self.job_id = job_id

    def __str__(self) -> str:
        return (
            f"Job {self.job_id} is parked, so it has no result yet. In eager mode Celery runs the "
            "steps of a chain, group or chord in one call and cannot wait for it: start the "
            "external task alone (with link= for what follows), or run the canvas on a worker"
        )


# --- What is wrong around us -------------------------------------------------------------------


class SchemaError(ExternalError):
    """The tables are missing, behind, or from a newer version of the package."""

    def __init__(
        self,
        database: str,
        found: str | None,
        wanted: str,
        command: str = "celery -A <your app> external upgrade",
    ) -> None:
        super().__init__(database, found, wanted, command)
        self.database = database
        self.found = found
        self.wanted = wanted
        self.command = command

    def __str__(self) -> str:
        if self.found is None:
            return f"{self.database} has no celery-external tables. Run: {self.command}"
        return (
            f"{self.database} has schema {self.found}, this version of celery-external needs "
            f"{self.wanted}. Run: {self.command} "
            "(or upgrade the package, if the schema is the newer of the two)"
        )


class DatabaseUnavailableError(ExternalError):
    """The jobs' database could not be reached or broke off; nothing was recorded."""

    def __init__(self, database: str, problem: str) -> None:
        super().__init__(database, problem)
        self.database = database
        self.problem = problem

    def __str__(self) -> str:
        return f"{self.database} is not available, nothing was recorded: {self.problem}"


# --- How a job ends, raised from the task as Celery sees it ---------------------------------------


class ExternalJobFailed(ExternalError):  # noqa: N818 - an outcome, named as Celery names its own
    """The outside world said that the job failed.

    What ``AsyncResult.get()`` raises, and what ``autoretry_for=(ExternalJobFailed,)`` retries.
    """

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason


class ExternalJobTimedOut(ExternalJobFailed):
    """Nobody said anything until the deadline, or no heartbeat came."""


class TriggerLostError(ExternalJobFailed):
    """The worker that ran the trigger is gone; whether the outside work began is not known."""


class ExternalJobCancelled(ExternalError):  # noqa: N818 - see ExternalJobFailed
    """Somebody cancelled the job. Not an ExternalJobFailed, and never retried."""

    def __init__(self, reason: str = "") -> None:
        super().__init__(reason)
        self.reason = reason

    def __str__(self) -> str:
        return self.reason
