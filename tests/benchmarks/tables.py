"""A database with the jobs' tables: filled with jobs that wait, and asked as it is."""

from __future__ import annotations

import hashlib
import itertools
import uuid
from collections.abc import Sequence
from typing import Any, cast

from celery_external import External
from tests.benchmarks.connecting import connect

#: Jobs that wait, each as the one that a worker has parked is.
FILL = """
INSERT INTO celery_external_job ({columns})
SELECT {values} FROM celery_external_job AS given,
    generate_series(%(first)s::int, %(last)s::int) AS n
WHERE given.id = %(given)s
"""
#: As random as those of Celery, so that the index on it is as full as in life.
NEW_ID = "md5('{prefix}-' || n)::uuid::text"
LATER = "given.{column} + n * interval '1 millisecond'"
VALUES = {
    "id": NEW_ID,
    "root_id": NEW_ID,
    "envelope": f"replace(given.envelope, given.id, {NEW_ID})",
    **{
        column: LATER.replace("{column}", column)
        for column in ("created_at", "started_at", "parked_at", "wake_at", "deadline", "due_at")
    },
    "labels": "jsonb_build_array('every', 'label-' || n %% 1000)",
}
FLOOR = """
CREATE TABLE floor (id text PRIMARY KEY, state text NOT NULL, outcome bytea)
"""
COPY = "COPY ({select}) TO STDOUT (FORMAT BINARY)"


class Tables:
    """A PostgreSQL database with celery-external's tables, and bare rows beside them.

    ``external`` is what reaches it; ``database`` is a bare connection.
    """

    def __init__(self, url: str, external: External) -> None:
        self.url, self.external = url, external
        external.upgrade()
        self.database = connect(url)
        self.database.execute(FLOOR)
        self._prefixes = map("b{:05d}".format, itertools.count(1))

    def fill(
        self, given: str, number: int, *, batch: int = 100_000, **values: str
    ) -> Sequence[str]:
        """Add jobs that wait as ``given`` does; their ids."""
        prefix = next(self._prefixes)
        columns = self._columns()
        chosen = {**VALUES, **values}
        texts = [chosen.get(name, f"given.{name}").format(prefix=prefix) for name in columns]
        statement = FILL.format(columns=", ".join(columns), values=", ".join(texts))
        for first in range(1, number + 1, batch):
            last = min(first + batch - 1, number)
            self.execute(statement, {"first": first, "last": last, "given": given})
        return Ids(prefix, number)

    def fill_floor(self, number: int) -> Sequence[str]:
        """Add bare rows; their ids."""
        prefix = next(self._prefixes)
        new_id = NEW_ID.format(prefix=prefix)
        self.execute(
            f"INSERT INTO floor SELECT {new_id}, 'PARKED', NULL "  # noqa: S608 - of our making
            "FROM generate_series(1, %s::int) AS n",
            (number,),
        )
        return Ids(prefix, number)

    def copy_from(self, other: Tables, job_id: str) -> None:
        """Take a job over as it is."""
        columns = ", ".join(self._columns())
        select = f"SELECT {columns} FROM celery_external_job WHERE id = '{job_id}'"  # noqa: S608
        read, write = other.database.cursor(), self.database.cursor()
        into = f"COPY celery_external_job ({columns}) FROM STDIN (FORMAT BINARY)"
        with read.copy(cast("Any", COPY.format(select=select))) as source:
            data = list(source)
        with write.copy(cast("Any", into)) as target:
            for block in data:
                target.write(block)

    def clear(self, *, keep: str | None = None) -> None:
        """Forget all jobs, but for one, and bare rows."""
        job = "celery_external_job"
        self.execute(f"CREATE TEMP TABLE kept AS SELECT * FROM {job} WHERE id = %s", (keep,))  # noqa: S608 - of our making
        self.execute(f"TRUNCATE {job}, celery_external_history, floor")
        self.execute(f"INSERT INTO {job} SELECT * FROM kept")  # noqa: S608
        self.execute("DROP TABLE kept")

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

    def _columns(self) -> list[str]:
        found = self.query(
            "SELECT column_name FROM information_schema.columns "
            "WHERE table_name = 'celery_external_job' ORDER BY ordinal_position"
        )
        return [name for (name,) in found]


class Ids(Sequence[str]):
    """The ids of one filling, which are as many as one likes."""

    def __init__(self, prefix: str, number: int) -> None:
        self._prefix, self._number = prefix, number

    def __len__(self) -> int:
        return self._number

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[place] for place in range(*index.indices(self._number))]
        if not 0 <= index < self._number:
            raise IndexError(index)
        text = f"{self._prefix}-{index + 1}".encode()
        return str(uuid.UUID(hashlib.md5(text, usedforsecurity=False).hexdigest()))
