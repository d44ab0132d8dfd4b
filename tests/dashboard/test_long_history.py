"""A history that has no end: a page reads the end of it, and says what it does not show."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from celery_external.glance import MAX_LINES
from celery_external.schema import history
from celery_external.store.counts import CAP
from tests.asked import note_statements
from tests.dashboard.sheet import Sheet
from tests.dashboard.visitors import Visitors

LINES = 5000


def write_lines(visitors: Visitors, job_id: str, number: int, **columns: Any) -> None:
    """Add lines to a job's history, each a second later than the one before."""
    began = datetime.now(UTC)
    same = {"namespace": visitors.rows.namespace, "job_id": job_id, "attempt": 1,
            "event": "refused", "by": None, "reason": None, "details": None, **columns}  # fmt: skip
    with visitors.rows.database.engine.connect() as connection:
        connection.exec_driver_sql("BEGIN")
        connection.execute(
            sa.insert(history),
            [
                {**same, "at": began + timedelta(seconds=n), "reason": f"line {n}."}
                for n in range(number)
            ],
        )
        connection.exec_driver_sql("COMMIT")


def timeline_of(sheet: Sheet) -> str:
    return sheet.text[sheet.text.index("History") :]


def test_only_its_end_is_read(both: Visitors) -> None:
    job_id = both.rows.parked()
    write_lines(both, job_id, LINES)
    asked = note_statements(both.rows.database.engine)
    timeline = timeline_of(both.job(job_id))
    assert max(one.rows for one in asked) == MAX_LINES
    assert f"These are the last {MAX_LINES} of {LINES:,} lines" in timeline
    assert "earlier lines are not shown" in timeline
    shown = [number for number in range(LINES) if f"line {number}." in timeline]
    assert shown == list(range(LINES - MAX_LINES, LINES))
    assert timeline.index(f"line {LINES - 2}.") < timeline.index(f"line {LINES - 1}.")
    # It begins in what is not shown.
    assert "created" not in timeline
    # Whoever asks for the job has the whole of it all the same.
    assert len(both.external.get_job(job_id).history) == LINES


@pytest.mark.parametrize("number", [MAX_LINES - 1, MAX_LINES, MAX_LINES + 1])
def test_it_says_so_only_if_there_are_earlier_lines(visitors: Visitors, number: int) -> None:
    job_id = visitors.rows.parked()
    write_lines(visitors, job_id, number)
    timeline = timeline_of(visitors.job(job_id))
    is_whole = number <= MAX_LINES
    assert ("are not shown" in timeline) is not is_whole
    assert ("created" in timeline) is is_whole
    assert ("line 0." in timeline) is is_whole
    assert f"line {number - 1}." in timeline


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
def test_what_would_be_dear_to_count_is_about_so_many(both: Visitors) -> None:
    job_id = both.rows.parked()
    write_lines(both, job_id, CAP + 2000)
    with both.rows.database.engine.connect() as connection:
        connection.exec_driver_sql("ANALYZE celery_external_history")
    asked = note_statements(both.rows.database.engine)
    assert f"the last {MAX_LINES} of about 12,000 lines" in timeline_of(both.job(job_id))
    assert max(one.rows for one in asked) == MAX_LINES


def test_attempts_are_those_of_which_the_end_is_known(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    for _ in range(4):
        visitors.external.cancel_job(job_id)
        # The end of the second attempt is the first line that is not read.
        if visitors.rows.get(job_id)["attempt"] == 2:
            write_lines(visitors, job_id, MAX_LINES - 5, attempt=2)
        visitors.external.rerun_job(job_id)
    text = visitors.job(job_id).text
    attempts = text[text.index("Attempts") : text.index("History")]
    assert "The first 2 attempts are not shown" in attempts
    assert [word for word in attempts.split() if word in {"cancelled", "rerun", "pending"}] == [
        "cancelled", "cancelled", "pending",
    ]  # fmt: skip


@pytest.mark.parametrize("action", ["Run again"])
def test_a_second_click_is_known_by_the_end_of_it(both: Visitors, action: str) -> None:
    job_id = both.rows.parked()
    write_lines(both, job_id, LINES)
    form = both.job(job_id).form(action)
    asked = note_statements(both.rows.database.engine)
    first, second = (both.send(form) for _ in range(2))
    assert first.headers["Location"].endswith("said=applied")
    assert second.headers["Location"].endswith("said=duplicate")
    assert max(one.rows for one in asked) == MAX_LINES
