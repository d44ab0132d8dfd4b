"""What benchmarks run on: PostgreSQL as it is installed, Valkey, workers, and jobs that wait."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from typing import Any, cast

from celery_external import get_external
from tests.benchmarks.connecting import connect
from tests.processes import Worker
from tests.servers import Postgres, Valkey
from tests.waiting import wait_for

APP = "tests.benchmarks.app"

#: Jobs that wait, each as the one that a worker has parked is.
FILL = """
INSERT INTO celery_external_job ({columns})
SELECT {values} FROM celery_external_job AS given, generate_series(%(first)s::int, %(last)s::int) AS n
WHERE given.id = %(given)s
"""
VALUES = {
    "id": "'{prefix}-' || lpad(n::text, 9, '0')",
    "envelope": "replace(given.envelope, given.id, '{prefix}-' || lpad(n::text, 9, '0'))",
    "root_id": "'root-' || n",
    "parked_at": "given.parked_at + n * interval '1 millisecond'",
    "wake_at": "given.wake_at + n * interval '1 millisecond'",
    "deadline": "given.deadline + n * interval '1 millisecond'",
    "created_at": "given.created_at + n * interval '1 millisecond'",
    "labels": "jsonb_build_array('every', 'label-' || n %% 1000)",
}
FLOOR = """
CREATE TABLE floor (id text PRIMARY KEY, state text NOT NULL, outcome bytea)
"""


class Rig:
    """Servers, the app in this process, and databases that are made as they are asked for."""

    def __init__(self, postgres: Postgres, valkey: Valkey) -> None:
        self.postgres, self.valkey = postgres, valkey
        self._prefixes = map("b{:05d}".format, itertools.count(1))
        self.url = postgres.create_database()
        self.env = {
            "BROKER_URL": valkey.fresh_database(),
            "RESULT_URL": valkey.fresh_database(),
            "NOTES_URL": valkey.fresh_database(),
            "DATABASE_URL": self.url,
        }
        os.environ.update(self.env)
        from tests.benchmarks import app as module  # noqa: PLC0415 - it reads the environment

        self.module: Any = module
        self.external = get_external(module.app)
        self.external.upgrade()
        self.database = connect(self.url)
        self.database.execute(FLOOR)

    def worker(self, **options: Any) -> Worker:
        """A worker of the app, not yet started."""
        return Worker(APP, env=self.env, log_level="WARNING", **options)

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

    def fill(self, given: str, number: int, *, batch: int = 100_000, **values: str) -> list[str]:
        """Add jobs that wait as ``given`` does; their ids."""
        prefix = next(self._prefixes)
        columns = [
            name
            for (name,) in self.query(
                "SELECT column_name FROM information_schema.columns "
                "WHERE table_name = 'celery_external_job' ORDER BY ordinal_position"
            )
        ]
        chosen = {**VALUES, **values}
        texts = [chosen.get(name, f"given.{name}").format(prefix=prefix) for name in columns]
        statement = FILL.format(columns=", ".join(columns), values=", ".join(texts))
        for first in range(1, number + 1, batch):
            last = min(first + batch - 1, number)
            self.execute(statement, {"first": first, "last": last, "given": given})
        return [f"{prefix}-{n:09d}" for n in range(1, number + 1)]

    def fill_floor(self, number: int) -> list[str]:
        """Add bare rows; their ids."""
        prefix = next(self._prefixes)
        self.execute(
            "INSERT INTO floor SELECT %(prefix)s || '-' || lpad(n::text, 9, '0'), 'PARKED', NULL "
            "FROM generate_series(1, %(number)s::int) AS n",
            {"prefix": prefix, "number": number},
        )
        return [f"{prefix}-{n:09d}" for n in range(1, number + 1)]

    def settle_down(self) -> None:
        """Have statistics and a checkpoint, so that no round pays for another's."""
        self.execute("VACUUM (ANALYZE)")
        self.execute("CHECKPOINT")

    def query(self, statement: str, params: Any = None) -> list[tuple[Any, ...]]:
        """Rows of a statement."""
        return self.database.execute(cast("Any", statement), params).fetchall()

    def execute(self, statement: str, params: Any = None) -> None:
        """Run a statement."""
        self.database.execute(cast("Any", statement), params)

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
def open_rig() -> Iterator[Rig]:
    """Start the servers: PostgreSQL with its own defaults, fsync among them."""
    with closing(Postgres(is_durable=True)) as postgres, closing(Valkey()) as valkey:
        postgres.start()
        valkey.start()
        rig = Rig(postgres, valkey)
        try:
            yield rig
        finally:
            rig.database.close()
