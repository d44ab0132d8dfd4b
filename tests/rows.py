"""Jobs without a worker: each state made by the store's own events, and the rows to look at.

Time passes by moving a row's times (:meth:`Rows.move`); no test waits for it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import sqlalchemy as sa
from celery import Celery

from celery_external import ExternalTask, Succeeded, get_external, message, payload, states
from celery_external.installation import installation_of
from celery_external.schema import job
from celery_external.store import attempts, decisions, deliveries, noted, read
from celery_external.store.database import Database, Row

#: Who runs the trigger, and hands the outcome on.
CLAIM = "worker"
#: A broker where nobody listens: the lowest port takes a privilege.
NO_BROKER = "redis://127.0.0.1:1/0"


@dataclass(frozen=True, eq=False)
class In:
    """Equal to a time that many seconds from now, give or take what a slow machine needs."""

    seconds: float

    def __eq__(self, other: object) -> bool:
        return isinstance(other, datetime) and abs(seconds_until(other) - self.seconds) < 20

    def __hash__(self) -> int:
        return hash(self.seconds)


NOW = In(0)


def seconds_until(moment: datetime) -> float:
    """How far away a time is."""
    return (moment - datetime.now(UTC)).total_seconds()


def ask(*_args: Any, **_kwargs: Any) -> None:
    """A trigger that nobody runs."""


def forget_shared_tasks(app: Celery) -> None:
    """Have an app know its own tasks, and not what the modules of other tests share."""
    own = (f"{app.main}.", "celery")
    for name in [name for name in app.tasks if not name.startswith(own)]:
        app.tasks.unregister(name)


class Rows:
    """An app with one external task on a database of its own, and nobody who works for it."""

    def __init__(self, database_url: str, *, broker_url: str = "memory://", **conf: Any) -> None:
        self.queue = f"rows-{uuid4()}"
        self.app = Celery("rows", broker=broker_url, set_as_current=False)
        self.app.conf.update(
            external_database_url=database_url, task_default_queue=self.queue, **conf
        )
        self.external = get_external(self.app)
        self.installation = installation_of(self.app)
        self.namespace = self.installation.namespace
        assert isinstance(self.installation.database, Database)
        self.database = self.installation.database
        self.task: Any = self.declare()

    def declare(self, name: str = "rows.ask", **options: Any) -> Any:
        """Have the app know another task; of the rows' own name: in its place."""
        self.app.tasks.pop(name, None)
        make: Any = self.app.task(base=ExternalTask, name=name, shared=False, **options)
        task = make(ask)
        if name == "rows.ask":
            self.task = task
        return task

    def close(self) -> None:
        """Let go of connections."""
        self.app.close()
        self.database.dispose()

    # --- What is there ---

    def get(self, job_id: str) -> Row:
        """The row as it stands."""
        row = self.find(job_id)
        assert row is not None, f"there is no job {job_id}"
        return row

    def find(self, job_id: str) -> Row | None:
        """The row, if there is one."""
        with self.database.alone() as tx:
            return read.get(tx, self.namespace, job_id)

    def history(self, job_id: str) -> list[Row]:
        """The history's lines, oldest first."""
        with self.database.alone() as tx:
            return read.get_history(tx, self.namespace, job_id)

    def events(self, job_id: str) -> list[str]:
        """What the history's lines are about."""
        return [line["event"] for line in self.history(job_id)]

    def count(self, **columns: Any) -> int:
        """How many jobs there are, with these values."""
        query = sa.select(sa.func.count()).select_from(job).filter_by(**columns)
        with self.database.engine.connect() as connection:
            return connection.execute(query).scalar_one()

    def sent(self) -> list[tuple[str, int]]:
        """The messages in the queue, as (job id, attempt); they are taken out of it."""
        found = []
        with self.app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            while received := channel.basic_get(self.queue, no_ack=True):
                headers: Mapping[str, Any] = received.headers
                found.append((headers["id"], headers[message.ATTEMPT_HEADER]))
        return found

    # --- How it comes to a state ---

    def pending(self, **options: Any) -> str:
        """Start a job."""
        job_id: str = self.task.apply_async(**options).id
        self.sent()
        return job_id

    def started(self, **options: Any) -> str:
        """Have a worker run its trigger."""
        job_id = self.pending(**options)
        assert self.take(job_id)
        return job_id

    def retry(self, **options: Any) -> str:
        """Have its trigger retried."""
        job_id = self.started(**options)
        assert self.begin_next_attempt(self.get(job_id), states.RETRY)
        return job_id

    def parked(
        self,
        *,
        timeout: float | None = None,
        heartbeat: float | None = None,
        poll: float | None = None,
        **options: Any,
    ) -> str:
        """Have its trigger done."""
        job_id = self.started(heartbeat_timeout=heartbeat, **options)
        assert self.park(
            self.get(job_id), timeout=timeout, heartbeat_timeout=heartbeat, poll_interval=poll
        )
        return job_id

    def early(self) -> str:
        """Have the outcome said while the trigger runs."""
        job_id = self.started()
        self.external.signal_succeeded(job_id, 1)
        return job_id

    def owed(self) -> str:
        """Have the outcome said, and its message sent."""
        job_id = self.parked()
        self.external.signal_succeeded(job_id, 1)
        self.sent()
        return job_id

    def claimed(self) -> str:
        """Have a worker hand the outcome on."""
        job_id = self.owed()
        assert self.take(job_id)
        return job_id

    def settled(self) -> str:
        """Have Celery told."""
        job_id = self.claimed()
        self.settle(job_id)
        return job_id

    def cancelled(self) -> str:
        """Have it called off, and Celery told."""
        job_id = self.parked()
        self.external.cancel_job(job_id)
        self.sent()
        assert self.take(job_id)
        self.settle(job_id)
        return job_id

    def timed_out(self) -> str:
        """Have its deadline pass, and a worker ask what that means."""
        job_id = self.parked(timeout=100)
        self.move(job_id, deadline=-1, wake_at=-1)
        assert self.external.sweep() == 1
        self.sent()
        assert self.take(job_id)
        return job_id

    def continued(self) -> str:
        """Have its trigger replaced by another step."""
        job_id = self.started(replaced_task_nesting=1)
        outcome = payload.outcome_columns(states.CONTINUED, reason="Replaced")
        with noted.deciding(self.database) as tx:
            row = self.get(job_id)
            assert decisions.decide_own(tx, row, CLAIM, outcome=outcome, lease=300)
        return job_id

    # --- What a worker does ---

    def take(
        self,
        job_id: str,
        attempt: int | None = None,
        claim: str = CLAIM,
        *,
        is_redelivered: bool = False,
    ) -> Row | None:
        """Deliver the message of an attempt; default: the one that is on."""
        with self.database.alone() as tx:
            return deliveries.take(
                tx,
                namespace=self.namespace,
                job_id=job_id,
                attempt=self.get(job_id)["attempt"] if attempt is None else attempt,
                claim=claim,
                trigger_timeout=3600,
                lease=self.installation.settings.lease,
                is_redelivered=is_redelivered,
            )

    def park(
        self,
        row: Row,
        *,
        timeout: float | None = None,
        heartbeat_timeout: float | None = None,
        poll_interval: float | None = None,
    ) -> Row | None:
        """End the trigger as a worker does when ``run`` returned."""
        with self.database.alone() as tx:
            return deliveries.park(
                tx,
                row,
                CLAIM,
                call_deadline=row["deadline"],
                timeout=timeout,
                heartbeat_timeout=heartbeat_timeout,
                poll_interval=poll_interval,
                body=None,
                trigger_result=None,
                trigger_result_type=None,
            )

    def begin_next_attempt(self, row: Row, state: str = states.PENDING) -> Row | None:
        """Start the job anew, as its own delivery does."""
        with noted.deciding(self.database) as tx:
            return attempts.begin_next_attempt(
                tx,
                namespace=self.namespace,
                job_id=row["id"],
                row=row,
                claim=CLAIM,
                start={**row, "deadline": None},
                state=state,
                wake_in=3600,
                event="retried" if state == states.RETRY else "replaced",
            )

    def settle(self, job_id: str) -> None:
        """Tell Celery."""
        with self.database.alone() as tx:
            assert deliveries.settle(tx, self.get(job_id), CLAIM)

    def outcome(self, result: Any = 1) -> Row:
        """The columns of a success."""
        return payload.encode_outcome(self.app, Succeeded(result))

    # --- The passing of time ---

    def move(self, job_id: str, **columns: float) -> None:
        """Set times of the row to that many seconds from now; negative: they have passed."""
        self.write(job_id, **_times(columns))

    def move_all(self, **columns: float) -> None:
        """As :meth:`move`, of all jobs."""
        with self.database.engine.connect() as connection:
            connection.execute(sa.update(job).values(**_times(columns)))

    def write(self, job_id: str, **columns: Any) -> None:
        """Set columns of the row."""
        with self.database.engine.connect() as connection:
            connection.execute(sa.update(job).where(job.c.id == job_id).values(**columns))

    def copy(self, job_id: str, number: int) -> list[str]:
        """Add jobs that are as this one is."""
        row = self.get(job_id)
        copies = [str(uuid4()) for _ in range(number)]
        self.insert(
            [{**row, "id": i, "envelope": row["envelope"].replace(job_id, i)} for i in copies]
        )
        return copies

    def insert(self, given: Sequence[Row]) -> None:
        """Add rows, all in one transaction."""
        with self.database.engine.connect() as connection:
            connection.exec_driver_sql("BEGIN")
            connection.execute(sa.insert(job), given)
            connection.exec_driver_sql("COMMIT")


def _times(columns: Mapping[str, float]) -> dict[str, datetime]:
    now = datetime.now(UTC)
    return {name: now + timedelta(seconds=seconds) for name, seconds in columns.items()}
