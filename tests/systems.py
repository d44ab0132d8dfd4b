"""A whole system for a test: app, database, broker, result backend and a running worker."""

from __future__ import annotations

import gc
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from celery import Celery

from celery_external import External, Job, JobNotFoundError, get_external, states
from tests.processes import Beat, Worker
from tests.waiting import wait_for

TASKS = "tests.apps.core"


class System:
    """The app of a module of ``tests.apps`` here, and a worker of it in its own process."""

    def __init__(
        self,
        *,
        broker_url: str,
        result_url: str,
        database_url: str,
        scratch: Path,
        conf: dict[str, Any] | None = None,
        tasks: str = TASKS,
    ) -> None:
        self.tasks = tasks
        self.env = {
            "BROKER_URL": broker_url,
            "RESULT_URL": result_url,
            "DATABASE_URL": database_url,
            "SCRATCH": str(scratch),
            "CONF": json.dumps(conf or {}),
        }
        self.scratch = scratch
        self.module = load_app(self.env, tasks)
        self.app: Celery = self.module.app
        self.external: External = get_external(self.app)

    def task(self, name: str) -> Any:
        """A task of the app."""
        return getattr(self.module, name)

    def worker(self, *args: str, **options: Any) -> Worker:
        """A worker of the app, not yet started."""
        return Worker(self.tasks, *args, env=self.env, **options)

    def beat(self) -> Beat:
        """A beat of the app, not yet started."""
        return Beat(self.tasks, env=self.env)

    def get(self, job: Any) -> Job:
        """The job as it stands."""
        return self.external.get_job(job)

    def wait_state(self, job: Any, state: str) -> Job:
        """Wait until the job has the state."""
        return self.wait_job(job, lambda found: found.state == state, f"to be {state}")

    def wait_job(self, job: Any, condition: Callable[[Job], bool], what: str) -> Job:
        """Wait until the job is there and fulfils a condition."""

        def look() -> Job | None:
            try:
                found = self.get(job)
            except JobNotFoundError:
                return None
            return found if condition(found) else None

        waited = wait_for(look, what=f"job {job} {what}")
        assert waited is not None
        return waited

    def wait_parked(self, job: Any) -> Job:
        """Wait until the job has parked."""
        return self.wait_state(job, states.PARKED)

    def wait_attempt(self, job: Any, attempt: int) -> Job:
        """Wait until this attempt has parked."""
        return self.wait_job(
            job,
            lambda found: found.state == states.PARKED and found.attempt == attempt,
            f"to park as attempt {attempt}",
        )

    def wait_settled(self, job: Any) -> Job:
        """Wait until Celery has been told of the job's outcome."""
        return self.wait_job(job, lambda found: found.settled, "to be settled")

    def lines(self, name: str) -> list[str]:
        """What the app's tasks wrote."""
        path = self.scratch / name
        return path.read_text().splitlines() if path.exists() else []

    def write(self, name: str) -> None:
        """Write a file that a task waits for."""
        (self.scratch / name).touch()

    def queue_length(self, queue: str = "celery") -> int:
        """How many messages wait in a queue of the broker."""
        with self.app.connection_for_read() as connection:
            try:
                channel: Any = connection.default_channel
                declared = channel.queue_declare(queue, passive=True)
            except connection.channel_errors:
                return 0  # on Redis an empty queue does not exist
            return int(declared.message_count)

    def count(self, name: str, start: str) -> int:
        """How many lines of a file begin like this."""
        return sum(line.startswith(start) for line in self.lines(name))

    def find_all(self, **filters: Any) -> list[Job]:
        """All jobs that fit, page after page."""
        found: list[Job] = []
        after: str | None = None
        while True:
            page = self.external.find_jobs(**filters, limit=1000, after=after)
            found.extend(page)
            after = page.next
            if after is None:
                return found

    def wait_for_parked(self, number: int, *, timeout: float, **filters: Any) -> list[Job]:
        """Wait until so many jobs have parked."""

        def look() -> list[Job]:
            found = self.find_all(state="PARKED", **filters)
            return found if len(found) >= number else []

        return wait_for(look, timeout=timeout, what=f"{number} jobs to park")

    def resume_message_of(self, job: Job) -> Any:
        """Complete the job where no worker runs, and take its resume from the queue."""
        self.external.signal_succeeded(job)
        with self.app.connection_for_read() as connection:
            queue = self.app.amqp.queues[job.queue or ""](connection.default_channel)
            return queue.get(no_ack=True)

    def execute(self, statement: str, **texts: str) -> None:
        """Change the database behind the library's back, to let time pass."""
        engine = sa.create_engine(self.env["DATABASE_URL"])
        with engine.begin() as connection:
            # As literals: PostgreSQL reads them as times, SQLite keeps them as they are.
            bound = sa.text(statement).bindparams(
                *(sa.bindparam(name, text, literal_execute=True) for name, text in texts.items())
            )
            connection.execute(bound)
        engine.dispose()

    def close(self) -> None:
        """Let go of connections."""
        self.app.close()
        self.external._installation.database.dispose()  # noqa: SLF001 - the tests' own clean-up


def let_results_go(app: Celery) -> None:
    """Have the app's results collected now: each tells its server, which is to be there still."""
    backend: Any = app.backend
    for waiting in backend._pending_results:  # noqa: SLF001 - there is no other way
        waiting.clear()
    gc.collect()


def load_app(env: Mapping[str, str], tasks: str = TASKS) -> Any:
    """The app's module, loaded anew with other settings."""
    sys.modules.pop(tasks, None)
    before = dict(os.environ)
    os.environ.update(env)
    try:
        return importlib.import_module(tasks)
    finally:
        # The celery command takes BROKER_URL for an option of its own.
        os.environ.clear()
        os.environ.update(before)
