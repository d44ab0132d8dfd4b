"""Figures: what is parked, by task and label, what hangs, and how jobs ended."""

from __future__ import annotations

import math
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from celery_external import Count, OptionError, Stats, TaskStats, Timeline, get_external, states
from celery_external.schema import job
from celery_external.store.counts import CAP
from tests.rows import NOW, In, Rows

HOUR = 3600.0


# --- A count --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (Count(0), "0"),
        (Count(1234), "1,234"),
        (Count(10_000), "10,000"),
        (Count(10_001, exact=False), "about 10,000"),
        (Count(1_234_567, exact=False), "about 1,200,000"),
        (Count(98_765, exact=False), "about 99,000"),
        (Count(999_999, exact=False), "about 1,000,000"),
    ],
    ids=str,
)
def test_a_count_says_what_is_known(count: Count, text: str) -> None:
    assert str(count) == text


def copied(rows: Rows, job_id: str, number: int) -> None:
    """As ``Rows.copy``, of thousands, on PostgreSQL."""
    names = [column.name for column in job.c if column.name != "id"]
    copy = (
        f"INSERT INTO celery_external_job (id, {', '.join(names)}) "  # noqa: S608 - ours
        f"SELECT id || '-' || n, {', '.join(names)} FROM celery_external_job, "
        "generate_series(1, :number) AS n WHERE id = :id"
    )
    with rows.database.engine.connect() as connection:
        connection.execute(sa.text(copy), {"id": job_id, "number": number})
        connection.execute(sa.text("VACUUM (ANALYZE) celery_external_job"))


def test_what_would_be_dear_to_count_is_estimated(postgres_url: str) -> None:
    with closing(Rows(postgres_url)) as rows:
        job_id = rows.parked(labels=["a", "b"])
        copied(rows, job_id, CAP - 1)
        assert rows.external.count_jobs() == Count(CAP)
        assert rows.external.stats().parked == Count(CAP)

        copied(rows, job_id, 0)
        rows.copy(rows.parked(labels=["a"]), 20)
        for filters in ({}, {"state": "PARKED"}, {"labels": ["a"]}, {"task": "rows.ask"}):
            found = rows.external.count_jobs(**filters)
            assert (found.exact, abs(found.number - CAP) < CAP / 10) == (False, True), filters
        assert rows.external.count_jobs(state="PENDING") == Count(0)

        stats = rows.external.stats()
        (task,) = stats.tasks
        assert (stats.parked.exact, task.parked) == (False, stats.parked)
        labels = dict(stats.labels)
        assert {label: str(count) for label, count in labels.items()} == {
            "a": "about 10,000",
            "b": "about 10,000",
        }


def test_sqlite_counts_them_all(sqlite_url: str) -> None:
    with closing(Rows(sqlite_url)) as rows:
        rows.copy(rows.parked(labels=["a"]), CAP)
        assert rows.external.count_jobs() == Count(CAP + 1)
        assert rows.external.stats().parked == Count(CAP + 1)
        assert dict(rows.external.stats().labels) == {"a": Count(CAP + 1, exact=False)}


def test_jobs_are_counted_in_a_transaction_of_the_callers(rows: Rows) -> None:
    rows.parked()
    engine = sa.create_engine(rows.database.url)
    with engine.begin() as connection:
        connection.execute(sa.update(job).values(task="other"))
        assert rows.external.count_jobs(task="other", using=connection) == Count(1)
        assert rows.external.count_jobs(task="rows.ask", using=connection) == Count(0)
        connection.rollback()
    engine.dispose()


# --- The figures of a moment ----------------------------------------------------------------------


def test_where_there_is_nothing(rows: Rows) -> None:
    none = Count(0)
    assert rows.external.stats() == Stats(
        at=NOW,  # type: ignore[arg-type]
        parked=none,
        oldest=None,
        tasks=(),
        labels=(),
        states=dict.fromkeys(("PENDING", "STARTED", "PARKED", "RETRY"), none),
        overdue=none,
        owed=none,
        stuck=none,
    )


def test_the_figures_of_all_jobs(rows: Rows) -> None:
    first, second = rows.parked(labels=["a", "b"]), rows.parked(labels=["b"], timeout=100)
    other = rows.parked()
    rows.write(other, task="rows.other")
    rows.move(first, parked_at=-300)
    rows.move(second, parked_at=-100, wake_at=-1)
    rows.move(other, parked_at=-200)
    rows.pending(labels=["a"])
    given_up = rows.pending()
    rows.write(given_up, sends=4, wake_at=None)
    rows.started()
    rows.retry()
    rows.owed()
    never_taken = rows.owed()
    rows.write(never_taken, sends=4)
    rows.settled()
    rows.cancelled()

    stats = rows.external.stats()

    assert [NOW, In(-300)] == [stats.at, stats.oldest]
    assert stats.tasks == (
        TaskStats("rows.ask", Count(2), In(-300)),  # type: ignore[arg-type]
        TaskStats("rows.other", Count(1), In(-200)),  # type: ignore[arg-type]
    )
    assert stats.labels == (("b", Count(2)), ("a", Count(1)))
    assert list(stats.states.items()) == [
        ("PENDING", Count(2)),
        ("STARTED", Count(1)),
        ("PARKED", Count(3)),
        ("RETRY", Count(1)),
    ]
    assert (stats.parked, stats.overdue) == (Count(3), Count(1))
    assert (stats.owed, stats.stuck) == (Count(2), Count(2))


def test_figures_are_those_of_the_lists(rows: Rows) -> None:
    for state in ("pending", "parked", "started", "retry", "owed", "claimed", "early", "settled"):
        rows.write(getattr(rows, state)(), sends=4)
    rows.move_all(created_at=-60)
    stats = rows.external.stats()
    for name in ("owed", "stuck", "overdue"):
        filters: dict[str, Any] = {name: True}
        listed = rows.external.find_jobs(order="created", **filters)
        assert getattr(stats, name) == Count(len(listed)), name
        # What a snapshot says of itself is what it is listed by.
        for one in listed:
            assert name != "stuck" or one.stuck
    for state, count in stats.states.items():
        assert count == Count(len(rows.external.find_jobs(order="created", state=state)))


def test_figures_are_of_one_namespace(rows: Rows, database_url: str) -> None:
    rows.parked(labels=["a"])
    rows.owed()
    with closing(Rows(database_url, external_namespace="other")) as other:
        stats = other.external.stats()
        assert (stats.parked, stats.tasks, stats.labels, stats.owed) == (Count(0), (), (), Count(0))
        assert other.external.timeline().outcomes == {}


def test_fifty_labels_are_shown(rows: Rows) -> None:
    for n in range(3):
        rows.parked(labels=[f"{n}-{m}" for m in range(20)] + ["each"])
    labels = rows.external.stats().labels
    assert labels[0] == ("each", Count(3))
    assert (len(labels), {count for _, count in labels[1:]}) == (50, {Count(1)})


# --- How jobs ended -------------------------------------------------------------------------------


def ended(rows: Rows, kind: str, *, ago: float, waited: float | None) -> None:
    """A job that ended so many seconds ago, and had been parked for so long before."""
    job_id = rows.settled()
    rows.write(job_id, kind=kind, state=states.STATE_OF_OUTCOME[kind])
    rows.move(job_id, completed_at=-ago)
    if waited is None:
        rows.write(job_id, parked_at=None)
    else:
        rows.move(job_id, parked_at=-ago - waited)


def test_outcomes_over_time(rows: Rows) -> None:
    ended(rows, "succeeded", ago=30, waited=5)
    ended(rows, "succeeded", ago=40, waited=HOUR - 5)
    ended(rows, "timed_out", ago=HOUR + 60, waited=40 * 86400)
    ended(rows, "failed", ago=4 * HOUR - 60, waited=None)
    ended(rows, "failed", ago=4 * HOUR + 60, waited=1)
    rows.parked()

    timeline = rows.external.timeline(hours=4, steps=4)

    assert timeline == Timeline(
        since=In(-4 * HOUR),  # type: ignore[arg-type]
        until=NOW,  # type: ignore[arg-type]
        step=timedelta(hours=1),
        outcomes={
            "failed": (1, 0, 0, 0),
            "succeeded": (0, 0, 0, 2),
            "timed_out": (0, 0, 1, 0),
        },
        waiting=(
            *((1.0, 0), (10.0, 1), (60.0, 0), (600.0, 0), (HOUR, 1)),
            *((6 * HOUR, 0), (86400.0, 0), (7 * 86400.0, 0), (math.inf, 1)),
        ),
        exact=True,
    )


def test_by_default_it_is_the_day_in_half_hours(rows: Rows) -> None:
    timeline = rows.external.timeline()
    assert [In(-86400), NOW] == [timeline.since, timeline.until]
    assert timeline.since + 48 * timeline.step == timeline.until
    assert (timeline.outcomes, timeline.exact) == ({}, True)


def test_of_very_many_a_part_is_looked_at(postgres_url: str) -> None:
    with closing(Rows(postgres_url)) as rows:
        ended(rows, "succeeded", ago=30, waited=30)
        (page,) = rows.external.find_jobs()
        copied(rows, page.id, 3999)
        timeline = rows.external.timeline(hours=1, steps=50)
        assert not timeline.exact
        number = sum(timeline.outcomes["succeeded"])
        assert abs(number - 4000) < 400
        assert dict(timeline.waiting)[60.0] == number


REFUSED: list[tuple[dict[str, Any], str]] = [
    *(
        ({"hours": hours}, f"hours: must be a number from 0 to 87840, not {hours!r}")
        for hours in (0, -1, "5", None, True, math.inf, math.nan, timedelta(hours=1))
    ),
    *(
        ({"steps": steps}, f"steps: must be a number from 1 to 1000, not {steps!r}")
        for steps in (0, 1001, "5", None, 1.5, True)
    ),
]


def test_what_is_no_time_is_refused(rows: Rows) -> None:
    for given, problem in REFUSED:
        with pytest.raises(OptionError) as caught:
            rows.external.timeline(**given)
        assert str(caught.value) == problem


def test_figures_need_no_task_of_this_process(rows: Rows, database_url: str) -> None:
    rows.parked(labels=["a"])
    app = Celery("stranger", broker="memory://", set_as_current=False)
    app.conf.external_database_url = database_url
    stats = get_external(app).stats()
    assert (stats.parked, stats.labels) == (Count(1), (("a", Count(1)),))
    assert stats.at.tzinfo is UTC
    assert isinstance(stats.oldest, datetime)
