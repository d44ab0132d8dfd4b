"""docs/metrics.md at work: a prefork worker shows what all its processes have counted."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa

from tests.monitoring.conftest import CONF
from tests.monitoring.scraping import Page
from tests.servers import find_free_port
from tests.systems import System
from tests.waiting import wait_for

ENDED = """
SELECT kind, task, count(*) FROM celery_external_job
WHERE kind IS NOT NULL AND completed_by IS NULL GROUP BY kind, task
"""
PARKED = "SELECT task, count(*) FROM celery_external_job WHERE parked_at IS NOT NULL GROUP BY task"
WAITED = """
SELECT task, count(*), sum(extract(epoch FROM completed_at - parked_at))
FROM celery_external_job WHERE kind = 'timed_out' GROUP BY task
"""


@pytest.fixture(scope="module")
def measured(
    make_shared_system: Callable[..., System], tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[System, str]]:
    """A worker of two children and a sweeper, and the address of its metrics."""
    system = make_shared_system("PostgreSQL", conf=CONF, tasks="tests.apps.measured")
    written: Path = tmp_path_factory.mktemp("multiprocess")
    port = find_free_port()
    system.env |= {"METRICS_PORT": str(port), "PROMETHEUS_MULTIPROC_DIR": str(written)}
    with closing(system), system.worker(concurrency=2):
        yield system, f"http://127.0.0.1:{port}/metrics"


def query(system: System, statement: str) -> list[Any]:
    """What the table says."""
    engine = sa.create_engine(system.env["DATABASE_URL"])
    with engine.connect() as connection:
        found = list(connection.execute(sa.text(statement)))
    engine.dispose()
    return found


def test_it_shows_what_the_table_says(measured: tuple[System, str]) -> None:
    system, url = measured
    late = [system.task("hurry").delay() for _ in range(4)]
    known = [system.task("know").delay(word) for word in ("succeeded", "no", "no")]
    for result in (*late, *known):
        system.wait_settled(result.id)
    for _ in range(3):
        system.task("ask").delay()
    jobs = system.wait_for_parked(3, timeout=30, task="measured.ask")
    # By this process, which counts for itself.
    system.external.signal_succeeded(jobs[0], by="the test")
    system.wait_settled(jobs[0])

    page = wait_for_page(url, parks=7)

    parked = dict(map(tuple, query(system, PARKED)))
    assert page.samples("parks_total") == parked == {"measured.ask": 3, "measured.hurry": 4}
    ended = {(kind, task): number for kind, task, number in query(system, ENDED)}
    assert page.samples("outcomes_total") == ended
    ((task, number, seconds),) = query(system, WAITED)
    assert page.samples("waiting_seconds_count") == {task: number}
    assert page.samples("waiting_seconds_sum") == {task: pytest.approx(float(seconds))}
    assert page.samples("jobs_parked") == {
        "measured.ask": 2,
        "measured.hurry": 0,
        "measured.know": 0,
    }
    assert page.value("up") == 1
    assert page.value("sweep_duration_seconds_count") > 0
    assert page.value("sweep_jobs_total") >= 4


def wait_for_page(url: str, *, parks: int) -> Page:
    """The page, when what was done last is on it: the gauges are shown for a few seconds."""

    def look() -> Page | None:
        page = Page(url)
        is_new = page.samples("jobs_parked").get("measured.ask") == 2
        return page if is_new and sum(page.samples("parks_total").values()) == parks else None

    page = wait_for(look, what="the worker to show the jobs")
    assert page is not None
    return page
