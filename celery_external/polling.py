"""Pollers: the sweep sends which jobs to ask for, and a worker asks their task."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, Protocol, cast

from celery import shared_task
from kombu.exceptions import OperationalError
from kombu.utils import json

from . import payload, references, sending
from .errors import (
    DatabaseUnavailableError,
    ExternalError,
    JobAlreadyCompletedError,
    JobNotFoundError,
    ResultInvalidError,
    StaleAttemptError,
)
from .installation import installation_of
from .job import Failed, Job, Progress, Succeeded
from .logs import name_job, name_jobs
from .naming import can_be_id, id_of, is_external
from .store import noted, polls, read
from .view import job_from

if TYPE_CHECKING:
    from celery import Celery

    from .config import Polling
    from .hooks import Answers
    from .installation import Installation
    from .store.database import Row

logger = logging.getLogger("celery_external")

TASK_NAME = "celery_external.poll"
#: Who says what a poller has found out.
BY = "poller"
#: Jobs in one message, and in one call of a poller.
BATCH = 100
#: Seconds after which a message that no worker has taken is dropped; the sweep sends others.
MESSAGE_EXPIRES = 24 * 3600.0
#: Of an exception's words, in characters: a history may hold many.
MAX_REASON = 1000
#: What a refusal has said in the history and in the log by itself.
_TOLD = (JobAlreadyCompletedError, JobNotFoundError, ResultInvalidError, StaleAttemptError)


class HasPoller(Protocol):
    """What a poll asks of the jobs' task."""

    name: str

    @property
    def polling(self) -> Polling | None:
        """How often; None: not any more."""

    def poll(self, jobs: Sequence[Job]) -> Answers:
        """How the jobs are."""


# --- From the sweep -------------------------------------------------------------------------------


def send(app: Celery, rows: Iterable[Row]) -> set[str]:
    """Have workers ask for these jobs, on their task's queue; returns what the broker took."""
    batches: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        try:
            envelope = json.loads(row["envelope"])
            route = envelope["exchange"], envelope["routing_key"]
        except (LookupError, TypeError, ValueError):
            logger.exception("Job %s[%s] cannot be polled: its message is damaged",
                             row["task"], row["id"], extra=name_job(row))  # fmt: skip
        else:
            batches[row["task"], *route].append(row)
    sent: set[str] = set()
    try:
        for batch in batches.values():
            for start in range(0, len(batch), BATCH):
                sent |= _send_one(app, batch[start : start + BATCH])
    except (OperationalError, OSError):
        logger.warning("The broker is away; jobs are polled later", exc_info=True)
    return sent


def _send_one(app: Celery, rows: list[Row]) -> set[str]:
    ids = [row["id"] for row in rows]
    keys = [(row["id"], row["attempt"], row["poll_at"].isoformat()) for row in rows]
    try:
        arguments = (rows[0]["task"], keys)
        sending.send_task(app, rows[0], TASK_NAME, arguments, expires=MESSAGE_EXPIRES)
    except (OperationalError, OSError):
        raise  # the others would fare no better
    except Exception:
        logger.exception(
            "A poll cannot be sent to the task's queue: jobs %s",
            ", ".join(ids),
            extra=name_jobs(ids),
        )
        return set()
    return set(ids)


# --- On a worker ----------------------------------------------------------------------------------


@shared_task(name=TASK_NAME, bind=True, ignore_result=True)
def poll_task(self: Any, name: str, keys: Sequence[tuple[str, int, str]]) -> int | None:
    """What the sweep sends; returns how many jobs were asked for.

    Of the messages that have piled up, or were delivered twice, one counts for each job.
    """
    installation = installation_of(self.app)
    named: list[Row] = [
        {"id": job_id, "attempt": attempt, "poll_at": datetime.fromisoformat(poll_at)}
        for job_id, attempt, poll_at in keys
    ]
    task: Any = installation.app.tasks.get(name)
    if not is_external(task):
        ids = [key["id"] for key in named]
        logger.error(
            "This worker knows no external task %s, and cannot poll jobs %s",
            name,
            ", ".join(ids),
            extra=name_jobs(ids),
        )
        return None
    return _ask(installation, cast("HasPoller", task), named)


def _ask(installation: Installation, task: HasPoller, keys: list[Row]) -> int:
    place, namespace = installation.database, installation.namespace
    polling = task.polling
    if polling is None:
        with noted.deciding(place) as tx:
            stopped = polls.stop(tx, namespace, keys)
        logger.info("%s has no poll_interval any more: %s jobs wait on", task.name, len(stopped))
        return 0
    with noted.deciding(place) as tx:
        rows = polls.take(
            tx,
            namespace,
            keys,
            backoff=polling.backoff,
            longest=polling.longest,
            lease=installation.settings.lease,
        )
    if not rows:
        return 0
    try:
        _Round(installation, task, rows).ask()
    finally:
        with noted.deciding(place) as tx:
            polls.end(tx, namespace, rows)
    return len(rows)


class _Round:
    """One call of a poller, and what it says."""

    def __init__(self, installation: Installation, task: HasPoller, rows: Iterable[Row]) -> None:
        self._installation = installation
        self._task = task
        self._jobs: Mapping[str, Job] = {row["id"]: job_from(installation.app, row) for row in rows}
        self._unanswered = dict(self._jobs)

    def ask(self) -> None:
        """Each answer counts at once; what the poller raises is for the jobs that are left."""
        try:
            for answer in self._task.poll(tuple(self._jobs.values())) or ():
                self._take(answer)
        except DatabaseUnavailableError:
            raise  # nothing can be noted, and nothing is lost: the jobs are polled again
        except Exception as exc:
            logger.exception(
                "The poller of %s raised; polled again later are jobs %s",
                self._task.name,
                ", ".join(self._unanswered),
                extra=name_jobs(self._unanswered),
            )
            self._note(self._unanswered.values(), f"{type(exc).__name__}: {payload.as_text(exc)}")

    def _take(self, answer: Any) -> None:
        try:
            job, outcome = answer
            job_id = id_of(job)
        except (TypeError, ValueError):
            # Not its words: they may be somebody's result.
            kind = type(answer).__name__
            logger.error("The poller of %s gave a %s, no (job, outcome)", self._task.name, kind)  # noqa: TRY400
            return
        known = self._jobs.get(job_id)
        if known is None:
            self._refuse(self._find(job_id), "The poller was not asked for this job")
            return
        self._unanswered.pop(job_id, None)
        try:
            self._tell(known, outcome)
        except DatabaseUnavailableError:
            raise
        except _TOLD as exc:
            logger.info("The poller of %s: %s", self._task.name, exc, extra=name_job(known))
        except ExternalError as exc:
            self._refuse(known, payload.as_text(exc))

    def _tell(self, job: Job, outcome: Any) -> None:
        match outcome:
            case None:
                pass
            case Progress() | Succeeded() | Failed():
                references.say(self._installation, job.id, job.attempt, outcome, by=BY)
            case _:
                kind = type(outcome).__name__
                problem = f"The poller gave a {kind}, no Succeeded, Failed or Progress"
                self._refuse(job, problem)

    def _find(self, job_id: str) -> Job | str:
        if not can_be_id(job_id):
            return job_id
        with self._installation.database.alone() as tx:
            row = read.get(tx, self._installation.namespace, job_id)
        return job_id if row is None else job_from(self._installation.app, row)

    def _refuse(self, job: Job | str, problem: str) -> None:
        job_id = job.id if isinstance(job, Job) else job
        logger.error(
            "The poller of %s, job %s: %s",
            self._task.name,
            job_id,
            problem,
            extra=name_job(job_id, self._task.name),
        )
        if isinstance(job, Job):
            self._note([job], problem)

    def _note(self, jobs: Iterable[Job], reason: str) -> None:
        attempts = [(job.id, job.attempt) for job in jobs]
        with self._installation.database.transaction() as tx:
            polls.note_failed(
                tx, self._installation.namespace, attempts, by=BY, reason=reason[:MAX_REASON]
            )
