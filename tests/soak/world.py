"""The world of a soak: servers that keep their data, and every process that uses them."""

from __future__ import annotations

import json
import shutil
import tempfile
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import sqlalchemy as sa
from celery import Celery
from redis import Redis

from celery_external import External, get_external, states
from celery_external.schema import job as jobs
from tests.processes import Beat, Process, Worker
from tests.servers import Postgres
from tests.soak.notes import Notes
from tests.soak.servers import DurableRabbitMQ, DurableValkey, Server
from tests.waiting import wait_for

APP = "tests.soak.app"
SWEEP = "sweep"
QUEUES = ("celery", SWEEP)
#: No starts above so many open jobs; the machine is to be busy, not buried.
MAX_OPEN = 120
#: Seconds without any change, with messages left: more than a visibility timeout and a lease.
STILL = 12

CONF: dict[str, Any] = {
    "broker_connection_retry_on_startup": True,
    "broker_connection_max_retries": None,
    "broker_connection_timeout": 2,
    "worker_prefetch_multiplier": 2,
    "task_publish_retry_policy": {"max_retries": 2, "interval_start": 0, "interval_step": 0.2},
    "external_sweep_interval": 1,
    "external_sweep_queue": SWEEP,
    "external_resume_grace": 1,
    "external_pending_grace": 6,
}
#: Redis: an unacked message is delivered again soon. RabbitMQ: a message counts once it is on disk.
TRANSPORT: dict[str, dict[str, Any]] = {
    "valkey": {
        "visibility_timeout": 5,
        "unacked_restore_interval": 1,
        "unacked_restore_throttle": 1,
        # Else a worker that is killed while it restores keeps the others from it for 5 minutes.
        "unacked_mutex_expire": 2,
    },
    "rabbitmq": {"confirm_publish": True},
}


@dataclass(frozen=True)
class Combination:
    """Which broker and which database; results are on Valkey."""

    broker: str
    database: str

    def __str__(self) -> str:
        return f"{self.broker} + {self.database}"


class World:
    """Everything that runs in a soak; as a context it is started, and gone at the end."""

    def __init__(self, combination: Combination) -> None:
        self.combination = combination
        self.scratch = Path(tempfile.mkdtemp(prefix="celery-external-soak-"))
        self.notes = Notes(self.scratch)
        self.servers: dict[str, Server] = {}
        self.broker_url = ""
        self.result_url = ""
        self.database_url = ""
        #: How often workers hung and had to be restarted.
        self.restarts = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            stack.callback(shutil.rmtree, self.scratch, ignore_errors=True)
            self._start_servers(stack)
            self.app = self._make_app(stack)
            self.external: External = get_external(self.app)
            self.external.upgrade()
            stack.callback(self.external._installation.database.dispose)  # noqa: SLF001
            self.engine = sa.create_engine(self.database_url, pool_pre_ping=True)
            stack.callback(self.engine.dispose)
            self._start_processes(stack)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def _start_servers(self, stack: ExitStack) -> None:
        valkey = stack.enter_context(closing(DurableValkey()))
        valkey.start()
        self.result_url = f"{valkey.base_url}/1"
        if self.combination.broker == "rabbitmq":
            rabbitmq = stack.enter_context(closing(DurableRabbitMQ()))
            rabbitmq.start()
            self.broker_url = rabbitmq.fresh_vhost()
            self.servers = {"broker": rabbitmq, "results": valkey}
        else:
            self.broker_url = f"{valkey.base_url}/0"
            self.servers = {"broker and results": valkey}
        if self.combination.database == "postgresql":
            postgres = stack.enter_context(closing(Postgres()))
            postgres.start()
            self.database_url = postgres.create_database()
            self.servers["database"] = postgres
        else:
            self.database_url = f"sqlite:///{self.scratch / 'jobs.db'}"

    def _make_app(self, stack: ExitStack) -> Celery:
        app = Celery("ledger", set_as_current=False)
        app.conf.update(
            CONF,
            broker_url=self.broker_url,
            result_backend=self.result_url,
            external_database_url=self.database_url,
        )
        stack.callback(app.close)
        return app

    def _start_processes(self, stack: ExitStack) -> None:
        conf = {**CONF, "broker_transport_options": TRANSPORT[self.combination.broker]}
        env = {
            "BROKER_URL": self.broker_url,
            "RESULT_URL": self.result_url,
            "DATABASE_URL": self.database_url,
            "SCRATCH": str(self.scratch),
            "CONF": json.dumps(conf),
        }
        # Not on RabbitMQ: after a lost connection the acks of Celery's threads do not arrive.
        threads = self.combination.broker == "valkey"
        pools = ["prefork", "prefork", "threads" if threads else "prefork"]
        self.workers = [
            Worker(APP, env=env, queues=QUEUES, concurrency=2, pool=pool) for pool in pools
        ]
        self.beat = Beat(APP, env=env)
        self.starters = [Process("tests.soak.starter", str(n), env=env) for n in range(2)]
        self.signallers = [Process("tests.soak.signaller", str(n), env=env) for n in range(3)]
        for process in self.processes:
            # Chaos does not wait for anybody.
            process.ready = None
            stack.enter_context(process)

    # --- What is there ---

    def count_jobs(self) -> int:
        """All of them."""
        with self.engine.connect() as connection:
            return connection.execute(sa.select(sa.func.count()).select_from(jobs)).scalar_one()

    def count_unfinished(self) -> int:
        """Jobs that are open or owed."""
        unfinished = sa.or_(jobs.c.kind.is_(None), jobs.c.wake_at.is_not(None))
        with self.engine.connect() as connection:
            query = sa.select(sa.func.count()).select_from(jobs).where(unfinished)
            return connection.execute(query).scalar_one()

    def count_messages(self) -> int:
        """Messages that wait for a worker or for its ack."""
        broker = self.servers.get("broker")
        if isinstance(broker, DurableRabbitMQ):
            queues = broker.count_messages(self.broker_url)
            return sum(queues.get(name, 0) for name in QUEUES)
        with Redis.from_url(self.broker_url) as client:
            waiting = sum(int(client.llen(name)) for name in QUEUES)
            return waiting + int(client.hlen("unacked"))

    def hold_back(self) -> None:
        """Have the starters rest while there is more to do than is good."""
        if self.count_unfinished() > MAX_OPEN:
            self.notes.tell("pause")
        else:
            self.notes.take_back("pause")

    # --- The end of chaos ---

    @property
    def processes(self) -> list[Process]:
        """All of them."""
        return [*self.workers, self.beat, *self.starters, *self.signallers]

    def wait_ready(self) -> None:
        """Wait until the workers take tasks."""
        for worker in self.workers:
            worker.wait_for_log(f"{worker.hostname} ready.")

    def revive(self, processes: Sequence[Process]) -> None:
        """Start those that do not run, as whoever supervises them would."""
        for process in processes:
            if process.returncode is not None:
                process.start()

    def stop_starting(self) -> None:
        """Have the starters end after what they are at."""
        self.notes.tell("stop")
        for starter in self.starters:
            starter.wait(30)

    def start_jobs(self, number: int, timeout: float) -> None:
        """Have the starters start so many more, with nothing killed, and all of them settled."""
        wanted = self.count_jobs() + number
        self.notes.take_back("stop")
        self.revive(self.starters)

        def is_enough() -> bool:
            self.hold_back()
            return self.count_jobs() >= wanted

        wait_for(is_enough, timeout=timeout, what=f"{number} jobs to be started")
        self.stop_starting()
        self.drain(timeout)

    def drain(self, timeout: float) -> None:
        """Wait until every job is settled and no message is left; repeats need not be waited for.

        What was owed for long is repeated after minutes. That time passes here at once; whoever
        has a claim keeps it for as long as the lease says.
        """
        looked_at = changed_at = time.monotonic()
        left = (-1, -1)

        def is_done() -> bool:
            nonlocal looked_at, changed_at, left
            before, left = left, (self.count_unfinished(), self.count_messages())
            now = time.monotonic()
            if left != before:
                changed_at = now
            elif now - changed_at > STILL:
                changed_at = now
                self._restart_workers()
            if now - looked_at > 2:
                looked_at = now
                self._let_time_pass()
                # Celery's worker ends by itself where its children were killed as it started.
                self.revive(self.workers)
            return left == (0, 0)

        wait_for(is_done, timeout=timeout, what="every job to be settled")

    def _restart_workers(self) -> None:
        """Messages wait, and nobody takes them: a worker of Celery's hangs with them."""
        self.restarts += 1
        self.renew_workers()

    def renew_workers(self) -> None:
        """Start all of them anew: after chaos one of Celery's may hang, and take nothing."""
        for worker in self.workers:
            worker.start()
        self.wait_ready()

    def _let_time_pass(self) -> None:
        now = datetime.now(UTC)
        is_repeated = sa.or_(
            jobs.c.kind.is_not(None), jobs.c.state.in_([states.PENDING, states.RETRY])
        )
        far = jobs.c.wake_at > now + timedelta(seconds=5)
        with self.engine.begin() as connection:
            connection.execute(
                sa.update(jobs).where(is_repeated, jobs.c.claim.is_(None), far).values(wake_at=now)
            )
