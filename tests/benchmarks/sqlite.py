"""Signals a second on SQLite, beside bare updates of one row by the same callers."""

from __future__ import annotations

import json
import random
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack, closing
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any
from uuid import uuid4

from tests.benchmarks.crew import Crew
from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.benchmarks.sqlite_callers import connect, open_external

CASES = ("floor", "commit")
CALLERS = (1, 2, 4, 8)
#: Of all callers together, in a round.
NUMBER = 1_000


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """One file for both cases; the send is left owed, and the first round warms up."""
    job_id = rig.park_one()
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        path = str(Path(directory) / "jobs.db")
        open_external(path).upgrade()
        number = NUMBER * (rounds + 1) * len(CALLERS)
        items = {
            "commit": iter(_fill(path, _read(rig, job_id), number)),
            "floor": iter(_fill_floor(path, number)),
        }
        crews = {}
        for callers in CALLERS:
            make = "tests.benchmarks.sqlite_callers:make_acts"
            crews[callers] = Crew(make, path, processes=callers)
            stack.callback(crews[callers].close)
        for number_of_round in range(rounds + 1):
            for callers, crew in crews.items():
                for case in random.sample(CASES, len(CASES)):
                    chosen = [(case, row_id) for row_id in islice(items[case], NUMBER)]
                    seconds, _ = crew.run(chosen)
                    if number_of_round:
                        records.add("sqlite", case, NUMBER / seconds, "per second",
                                    callers=callers, round=number_of_round)  # fmt: skip


def _read(rig: Rig, job_id: str) -> dict[str, Any]:
    """A parked job's row, as SQLite keeps it."""
    found = rig.database.execute("SELECT * FROM celery_external_job WHERE id = %s", (job_id,))
    row = found.fetchone()
    assert row is not None
    return {
        column.name: _convert(value)
        for column, value in zip(found.description or (), row, strict=True)
    }


def _convert(value: Any) -> Any:
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S.%f")
    return json.dumps(value) if isinstance(value, dict | list) else value


def _fill(path: str, given: dict[str, Any], number: int) -> Sequence[str]:
    """Add jobs that wait as ``given`` does; their ids."""
    ids = [str(uuid4()) for _ in range(number)]
    names = ", ".join(given)
    values = ", ".join(f":{name}" for name in given)
    with closing(connect(path)) as connection:
        connection.execute("BEGIN")
        connection.executemany(
            f"INSERT INTO celery_external_job ({names}) VALUES ({values})",  # noqa: S608
            (
                {**given, "id": new, "root_id": new,
                 "envelope": given["envelope"].replace(given["id"], new)}
                for new in ids
            ),
        )  # fmt: skip
        connection.execute("COMMIT")
    return ids


def _fill_floor(path: str, number: int) -> Sequence[str]:
    ids = [str(uuid4()) for _ in range(number)]
    with closing(connect(path)) as connection:
        connection.execute(
            "CREATE TABLE floor (id TEXT PRIMARY KEY, state TEXT NOT NULL, outcome BLOB)"
        )
        connection.execute("BEGIN")
        connection.executemany(
            "INSERT INTO floor VALUES (?, 'PARKED', NULL)", ((one,) for one in ids)
        )
        connection.execute("COMMIT")
    return ids
