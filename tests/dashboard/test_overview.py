"""The overview: its figures and charts say what the database has."""

from __future__ import annotations

import pytest

from tests.dashboard.sheet import Sheet
from tests.dashboard.visitors import BOB, Visitors


def tiles(sheet: Sheet) -> dict[str, str]:
    """The figures, by their names."""
    words = [word.strip() for word in sheet.words if word.strip()]
    names = ("Parked", "Oldest", "Overdue", "Owed to Celery", "Stuck", "Pending", "Started")
    return {name: words[words.index(name) + 1] for name in names}


def test_an_empty_table(both: Visitors) -> None:
    sheet = both.see("/")
    assert tiles(sheet) == {
        "Parked": "0", "Oldest": "none", "Overdue": "0", "Owed to Celery": "0", "Stuck": "0",
        "Pending": "0", "Started": "0",
    }  # fmt: skip
    for words in ("Nothing is parked.", "There were none.", "Nothing has ended."):
        assert words in sheet.text


def test_the_figures(both: Visitors) -> None:
    rows = both.rows
    late, oldest = rows.parked(timeout=100), rows.parked(labels=("high",))
    rows.move(late, deadline=-60, wake_at=-60)
    rows.move(oldest, parked_at=-7200)
    rows.pending()
    rows.started()
    rows.settled()
    owed = rows.parked()
    both.external.signal_failed(owed, "no")
    sheet = both.see("/", BOB)
    assert tiles(sheet) == {
        "Parked": "2", "Oldest": "2 h ago", "Overdue": "1", "Owed to Celery": "1", "Stuck": "0",
        "Pending": "1", "Started": "1",
    }  # fmt: skip
    assert sheet.find(**{"class": "bad"})
    for url in ("state=PARKED&order=parked", "overdue=yes", "owed=yes", "stuck=yes",
                "label=high&state=PARKED", "task=rows.ask&state=PARKED"):  # fmt: skip
        assert f"/where/it%20is/jobs?{url}" in sheet.links, url


@pytest.mark.parametrize(("hours", "name"), [("1", "hour"), ("24", "day"), ("168", "week")])
def test_a_chart_and_its_table_say_the_same(both: Visitors, hours: str, name: str) -> None:
    for _ in range(3):
        both.external.signal_succeeded(both.rows.parked())
    both.external.signal_failed(both.rows.parked(), "no")
    both.rows.parked()
    sheet = both.see(f"/?hours={hours}")
    charts = [given for tag, given in sheet.tags if tag == "svg" and given.get("role") == "img"]
    assert [given["aria-labelledby"] for given in charts] == [
        f"{one}-title {one}-description" for one in ("tasks", "outcomes", "waiting")
    ]
    assert f"Outcomes in the last {name}" in sheet.text
    assert "3 succeeded, 1 failed" in sheet.text
    assert "rows.ask 1" in sheet.text
    # The table of the chart, and nothing but numbers in its cells.
    table = sheet.text[sheet.text.rindex("As a table", 0, sheet.text.index("Waiting times")) :]
    assert "succeeded failed" in table
    assert "≤ 1 s" in table


def test_a_span_of_nobody_is_a_day(visitors: Visitors) -> None:
    assert "Outcomes in the last day" in visitors.see("/?hours=1000000").text


def test_it_refreshes_itself(visitors: Visitors) -> None:
    region = visitors.see("/?hours=1&live=1").find(id="live")
    assert region["hx-get"] == "/where/it%20is/?hours=1&live=1"
