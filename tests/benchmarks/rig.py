"""What benchmarks run on: PostgreSQL as it is installed, Valkey, workers, and jobs that wait."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from typing import Any

from celery_external import get_external
from tests.benchmarks.tables import Tables
from tests.processes import Worker
from tests.servers import Postgres, Valkey
from tests.waiting import wait_for

APP = "tests.benchmarks.app"


class Rig(Tables):
    """Servers, the app in this process, and its database; ``size`` is the most to fill in."""

    def __init__(self, postgres: Postgres, valkey: Valkey, size: int) -> None:
        self.postgres, self.valkey, self.size = postgres, valkey, size
        #: Databases of other sizes, as they are built.
        self.sized: dict[int, Any] = {}
        url = postgres.create_database()
        self.env = {
            "BROKER_URL": valkey.fresh_database(),
            "RESULT_URL": valkey.fresh_database(),
            "NOTES_URL": valkey.fresh_database(),
            "DATABASE_URL": url,
        }
        os.environ.update(self.env)
        from tests.benchmarks import app as module  # noqa: PLC0415 - it reads the environment

        self.module: Any = module
        super().__init__(url, get_external(module.app))

    def worker(self, *, env: Mapping[str, str] | None = None, **options: Any) -> Worker:
        """A worker of the app, not yet started; it logs what a worker logs by default."""
        worker = Worker(APP, env=env or self.env, log_level="WARNING", **options)
        # It does not say so at this level: who needs it waits for what it does.
        worker.ready = None
        return worker

    def park_one(self) -> str:
        """A chain's external step, parked by a worker."""
        chain = self.module.ask.s() | self.module.note.s("none")
        job_id: str = chain.apply_async().parent.id
        with Worker(APP, env=self.env):
            wait_for(
                lambda: list(self.external.find_jobs(state="PARKED", root_id=job_id)),
                what="the job to park",
            )
        return job_id

    def settings(self) -> dict[str, str]:
        """What PostgreSQL says of itself, as far as speed depends on it."""
        names = ("server_version", "fsync", "synchronous_commit", "full_page_writes",
                 "shared_buffers", "max_wal_size")  # fmt: skip
        return {name: self.query(f"SHOW {name}")[0][0] for name in names}

    def empty_queues(self) -> None:
        """Forget what was sent."""
        self.module.app.control.purge()
        self.module.notes.flushdb()

    def notes(self, key: str, number: int, timeout: float = 300.0) -> Sequence[tuple[float, str]]:
        """Wait until so many steps have noted when they began; the notes."""
        redis = self.module.notes
        wait_for(lambda: redis.llen(key) >= number, timeout=timeout, what=f"{number} notes")
        texts = [text.decode().split(" ", 1) for text in redis.lrange(key, 0, -1)]
        return [(float(at), said) for at, said in texts]


@contextmanager
def open_rig(size: int = 1_000_000) -> Iterator[Rig]:
    """Start the servers: PostgreSQL with its own defaults, fsync among them."""
    with closing(Postgres(is_durable=True)) as postgres, closing(Valkey()) as valkey:
        postgres.start()
        valkey.start()
        rig = Rig(postgres, valkey, size)
        try:
            yield rig
        finally:
            rig.database.close()
