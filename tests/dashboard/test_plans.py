"""The pages at 100,000 jobs: what they ask of PostgreSQL is read by indexes, or stops soon.

The statements are those that the dashboard ran when it was asked for the page.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import psycopg
import pytest

from celery_external.glance import MAX_LINES
from celery_external.store.counts import CAP
from tests.asked import Asked, note_statements
from tests.dashboard.sheet import Sheet
from tests.dashboard.visitors import Visitors
from tests.plans import LONG_LIVED, MODES, Explainer, indexes, nodes, seq_scans


@dataclass
class Watched:
    """A dashboard of many jobs, and what it asks."""

    visitors: Visitors
    asked: list[Asked]
    connection: psycopg.Connection[Any]

    def see(self, url: str) -> Sheet:
        """Look at a page; only what this has asked is kept."""
        self.asked.clear()
        return self.visitors.see(url)

    def plans(self, mode: str, options: str = "") -> list[dict[str, Any]]:
        """How what was asked is read; where the planner was asked, nothing is."""
        self.connection.execute(f"SET plan_cache_mode = {mode}")
        explainer = Explainer(self.connection, options)
        for one in self.asked:
            if not one.text.startswith("EXPLAIN"):
                explainer.execute(one.text, one.params)
        assert explainer.plans
        return explainer.plans


@pytest.fixture(scope="module")
def watched(many_jobs_url: str) -> Iterator[Watched]:
    """Many jobs, which these tests do not change."""
    visitors = Visitors(many_jobs_url)
    asked = note_statements(visitors.rows.database.engine)
    url = many_jobs_url.replace("+psycopg", "")
    with closing(visitors.rows), psycopg.connect(url, autocommit=True) as connection:
        yield Watched(visitors, asked, connection)


def short(names: set[str]) -> set[str]:
    return {name.removeprefix("celery_external_").removeprefix("job_") for name in names}


def most_read(plans: list[dict[str, Any]]) -> Any:
    """Rows that a part of a plan has looked at, at the most."""
    scans = (node for plan in plans for node in nodes(plan) if "Scan" in node["Node Type"])
    return max(
        (float(node["Actual Rows"]) + node.get("Rows Removed by Filter", 0)) * node["Actual Loops"]
        for node in scans
    )


OVERVIEW = {"unsettled", "wake_at", "completed_at"}
WAITING = {"unsettled", "created_at"}
#: To count all, any index will do.
ANY = {"root_id", "pkey"}
JOB = {"pkey", "history_job", "root_id"}
#: Pages, and the indexes that they are read by.
PAGES: dict[str, set[str]] = {
    "/": OVERVIEW,
    "/?hours=1": OVERVIEW,
    "/?hours=168": OVERVIEW,
    "/jobs": {"created_at", *ANY},
    "/jobs?order=parked": {"parked_at", *ANY},
    "/jobs?order=-completed": {"completed_at", *ANY},
    "/jobs?label=label-7": {"labels", "pkey"},
    "/jobs?state=PARKED": WAITING,
    "/jobs?state=PENDING": {"unsettled", "pkey"},
    "/jobs?state=PARKED&task=rows.ask": WAITING,
    "/jobs?state=PARKED&task=rows.ask&label=label-8": {"unsettled", "labels", "pkey"},
    "/jobs?state=PARKED&order=parked": {"unsettled", "parked_at"},
    "/jobs?overdue=yes": {"wake_at"},
    "/jobs?owed=yes": {"unsettled", "pkey"},
    "/jobs?stuck=yes": {"unsettled", "pkey"},
    "/jobs?reference=ref-7": {"reference"},
    "/jobs?root_id=root-7": {"root_id"},
    "/job?id=job-4": JOB,
    f"/job?id={LONG_LIVED}": JOB,
}


@pytest.mark.parametrize("url", PAGES)
def test_a_page_reads_indexes(watched: Watched, url: str) -> None:
    watched.see(url)
    check(watched, PAGES[url])


#: Lists with more jobs than a page has.
LONG = [url for url in PAGES if url.startswith("/jobs") and "_id=" not in url
        and not url.endswith(("overdue=yes", "stuck=yes", "ref-7", "label-8"))]  # fmt: skip


@pytest.mark.parametrize("url", LONG)
def test_the_next_page_reads_them_as_well(watched: Watched, url: str) -> None:
    sheet = watched.see(f"{url}{'&' if '?' in url else '?'}limit=25")
    following = sheet.find(rel="next")["href"]
    assert following is not None
    sheet = watched.see(following.removeprefix("/where/it%20is"))
    assert sheet.count("input", name="pick") == 25
    check(watched, PAGES[url])


def check(watched: Watched, expected: set[str]) -> None:
    for mode in MODES:
        plans = watched.plans(mode)
        assert [seq_scans(plan) for plan in plans] == [[]] * len(plans), mode
        used = short({name for plan in plans for name in indexes(plan)})
        assert used | ANY == expected | ANY, mode
        assert used >= expected - ANY, mode
    # Of an index as well no more is read than is counted.
    assert most_read(watched.plans(MODES[0], ", ANALYZE")) <= CAP + 1


@pytest.mark.parametrize("url", ["/jobs?task=rows.ask", "/jobs?state=SUCCESS", "/jobs?label=every"])
def test_what_most_jobs_are_is_counted_no_further_than_it_is_cheap(
    watched: Watched, url: str
) -> None:
    watched.see(url)
    rows = next(one for one in watched.asked if one.rows > 1)
    plans = watched.plans(MODES[0], ", ANALYZE")
    # The rows by the order's index, and by whatever is there the number.
    asked = [one for one in watched.asked if not one.text.startswith("EXPLAIN")]
    assert short(indexes(plans[asked.index(rows)])) == {"created_at"}
    assert most_read(plans) < 2 * CAP


@pytest.mark.parametrize(
    ("url", "words", "number"),
    [
        ("/jobs", "{} jobs", 100_000),
        ("/jobs?state=PARKED", "{} jobs", 25_000),
        ("/jobs?task=rows.ask", "{} jobs", 66_666),
        ("/jobs?label=every", "{} jobs", 100_000),
        ("/", "Parked {} Oldest", 25_000),
        ("/", "rows.ask {}", 16_666),
        (f"/job?id={LONG_LIVED}", f"the last {MAX_LINES} of {{}} lines", 20_000),
    ],
)
def test_a_number_that_is_not_exact_says_about(
    watched: Watched, url: str, words: str, number: int
) -> None:
    found = re.search(words.format("about ([0-9]+,000)"), watched.see(url).text)
    assert found is not None
    # As near as statistics are.
    assert abs(int(found[1].replace(",", "")) - number) < number / 10


@pytest.mark.parametrize(
    ("url", "words"), [("/jobs?label=label-7", "100 jobs"), ("/jobs?state=PENDING", "51 jobs")]
)
def test_what_is_cheap_to_count_is_counted(watched: Watched, url: str, words: str) -> None:
    text = watched.see(url).text
    assert f" {words}" in text
    assert f"about {words}" not in text
