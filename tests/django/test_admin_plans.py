"""The admin's lists on PostgreSQL, with 100,000 jobs: nothing is read that is not shown."""

from __future__ import annotations

import json

from tests.django.runs import ADMIN, MEMORY, Project
from tests.servers import Postgres

CREATED = {"created_at"}
WAITING = {"created_at", "unsettled"}
FOUND = {"created_at", "pkey", "root_id", "reference", "labels"}
#: Lists, and the indexes that their filters (the tasks of the newest 1000 jobs), number and rows
#: are read by.
LISTS = {
    "": CREATED,
    "?p=100": CREATED,
    "?o=-5": {*CREATED, "parked_at"},
    "?o=5": {*CREATED, "parked_at"},
    "?o=-11": {*CREATED, "completed_at"},
    "?state=PARKED": WAITING,
    "?state=PENDING": WAITING,
    "?state=PARKED&task=shop.task-1": WAITING,
    "?progress=open": WAITING,
    "?progress=owed": WAITING,
    "?progress=stuck": WAITING,
    "?progress=overdue": {*CREATED, "wake_at"},
    "?q=job-5": FOUND,
    "?q=root-7": FOUND,
    "?q=ref-9": FOUND,
    "?q=label-7": FOUND,
    "?q=nothing": FOUND,
}


def test_lists_read_indexes_alone(postgres: Postgres) -> None:
    conf = {**ADMIN, "DATABASE": {"ATOMIC_REQUESTS": False}}
    project = Project({**MEMORY, "DATABASE_URL": postgres.create_database()}, conf)
    project.manage("migrate")
    said = project.run(
        "import json\nfrom tests.django.project.shop.plans import explain_lists\n"
        f"print(json.dumps(explain_lists(*{list(LISTS)!r})))"
    )
    found = json.loads(said.splitlines()[-1])
    for query, expected in LISTS.items():
        used = {str(index).removeprefix("celery_external_job_") for index, _ in found[query]}
        # To count all, any index will do.
        assert used == expected | (used & {"root_id", "pkey"} if expected == CREATED else set())
        # Of 100,000: what is leafed through, or what there is.
        assert max(rows for _, rows in found[query]) <= 10_000, query
    searched = [rows for query in LISTS if "q=" in query for _, rows in found[query][1:]]
    assert max(searched) <= 100
