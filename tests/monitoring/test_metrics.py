"""The metrics: a real page, fetched over HTTP, says what the database says."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery
from prometheus_client import CollectorRegistry

from celery_external import Failed, JobAlreadyCompletedError, OptionError, StaleAttemptError
from celery_external.contrib.prometheus import JobCollector, register
from tests.monitoring.scraping import Page, serving_metrics
from tests.processes import REPOSITORY
from tests.rows import Rows, forget_shared_tasks

TASK = "rows.ask"
NO_DATABASE = "postgresql+psycopg://127.0.0.1:1/nothing"
CONVENTION = re.compile(r"celery_external_[a-z]+(_[a-z]+)*")
#: By the table alone, in the words of its columns.
PARKED = "SELECT task, count(*) FROM celery_external_job WHERE state = 'PARKED' GROUP BY task"
STATES = "SELECT state, count(*) FROM celery_external_job WHERE kind IS NULL GROUP BY state"
OWED = """
SELECT count(*) FROM celery_external_job WHERE kind IS NOT NULL AND wake_at IS NOT NULL
"""

Scrape = Callable[[], Page]


def query(rows: Rows, statement: str) -> list[Any]:
    """What the table says."""
    with rows.database.engine.connect() as connection:
        return list(connection.execute(sa.text(statement)))


@pytest.fixture
def registry(rows: Rows) -> CollectorRegistry:
    """A registry of one test, for the rows' app."""
    forget_shared_tasks(rows.app)
    return CollectorRegistry()


@pytest.fixture
def scrape(rows: Rows, registry: CollectorRegistry) -> Iterator[Scrape]:
    """Fetches the page of the rows' app."""
    register(rows.app, registry, max_age=0)
    with serving_metrics(registry) as url:
        yield lambda: Page(url)


# --- What the database knows ----------------------------------------------------------------------


def test_the_gauges_are_what_the_table_says(rows: Rows, scrape: Scrape) -> None:
    rows.copy(rows.parked(), 4)
    rows.copy(rows.owed(), 2)
    for state in (rows.pending, rows.retry, rows.settled, rows.cancelled):
        state()
    rows.copy(rows.started(), 1)
    page = scrape()
    assert page.samples("jobs_parked") == dict(map(tuple, query(rows, PARKED))) == {TASK: 5}
    said = page.samples("jobs")
    assert {state: n for state, n in said.items() if n} == dict(map(tuple, query(rows, STATES)))
    assert set(said) == {"PENDING", "STARTED", "PARKED", "RETRY"}
    assert page.value("jobs_owed") == query(rows, OWED)[0][0] == 3
    assert (page.value("up"), page.value("jobs_overdue"), page.value("jobs_stuck")) == (1, 0, 0)


def test_the_oldest_age_is_in_seconds(rows: Rows, scrape: Scrape) -> None:
    rows.move(rows.parked(), parked_at=-5000)
    rows.move(rows.parked(), parked_at=-50)
    assert scrape().samples("oldest_parked_age_seconds") == {TASK: pytest.approx(5000, abs=30)}


def test_a_task_of_which_nothing_is_parked_is_zero(rows: Rows, scrape: Scrape) -> None:
    job_id = rows.parked()
    assert scrape().samples("jobs_parked") == {TASK: 1}
    rows.external.signal_succeeded(job_id)
    page = scrape()
    assert page.samples("jobs_parked") == {TASK: 0}
    assert page.samples("oldest_parked_age_seconds") == {}


def test_what_hangs_is_shown(rows: Rows, scrape: Scrape) -> None:
    rows.move(rows.parked(timeout=60), deadline=-10, wake_at=-10)
    stuck = rows.owed()
    rows.write(stuck, sends=50)
    page = scrape()
    assert (page.value("jobs_overdue"), page.value("jobs_stuck")) == (1, 1)


def test_what_was_read_is_shown_for_a_while(rows: Rows, registry: CollectorRegistry) -> None:
    register(rows.app, registry, max_age=3600)
    with serving_metrics(registry) as url:
        assert Page(url).samples("jobs_parked") == {TASK: 0}
        rows.parked()
        assert Page(url).samples("jobs_parked") == {TASK: 0}


def test_a_database_that_is_away_breaks_no_scrape(
    registry: CollectorRegistry, caplog: pytest.LogCaptureFixture
) -> None:
    with ExitStack() as stack:
        app = stack.enter_context(closing(Celery(broker="memory://", set_as_current=False)))
        app.conf.external_database_url = NO_DATABASE
        # To register is not to connect.
        register(app, registry)
        url = stack.enter_context(serving_metrics(registry))
        with caplog.at_level(logging.ERROR, "celery_external"):
            page = Page(url)
        assert page.value("up") == 0
        assert page.samples("jobs_parked") == page.samples("jobs_owed") == {}
        assert "celery_external_sweep_duration_seconds" in page.families
        assert caplog.messages == [f"The metrics are without what {NO_DATABASE} knows"]
        caplog.clear()
        Page(url)
        assert caplog.messages == []


# --- What processes count -------------------------------------------------------------------------


def test_outcomes_and_waiting_are_counted_once_an_attempt(rows: Rows, scrape: Scrape) -> None:
    parked, cancelled = rows.parked(), rows.parked()
    rows.move(parked, parked_at=-100)
    rows.move(cancelled, parked_at=-1000)
    rows.external.signal_succeeded(parked, 1)
    rows.external.signal_succeeded(parked, 1)
    with pytest.raises(JobAlreadyCompletedError):
        rows.external.signal_failed(parked, "no")
    rows.external.cancel_job(cancelled)
    rows.external.rerun_job(cancelled)
    assert rows.take(cancelled)
    assert rows.park(rows.get(cancelled))
    rows.move(cancelled, parked_at=-10)
    rows.external.signal_failed(cancelled, "no")
    # Not parked, and so without a wait.
    rows.external.signal_failed(rows.pending(), "no")
    page = scrape()
    assert page.samples("outcomes_total") == {
        ("succeeded", TASK): 1, ("cancelled", TASK): 1, ("failed", TASK): 2,
    }  # fmt: skip
    assert page.samples("waiting_seconds_count") == {TASK: 3}
    assert page.samples("waiting_seconds_sum") == {TASK: pytest.approx(1110, abs=30)}


def test_a_timeout_is_an_outcome_of_the_sweep(rows: Rows, scrape: Scrape) -> None:
    rows.move(rows.parked(timeout=60), parked_at=-60, deadline=-1, wake_at=-1)
    rows.copy(rows.settled(), 2)
    assert rows.external.sweep() == 1
    page = scrape()
    assert page.samples("outcomes_total")["timed_out", TASK] == 1
    assert page.value("sweep_duration_seconds_count") == 1
    assert 0 < page.value("sweep_duration_seconds_sum") < 10
    assert page.value("sweep_jobs_total") == 1


def test_refusals_are_counted_by_their_error(rows: Rows, scrape: Scrape) -> None:
    parked, settled = rows.parked(), rows.settled()
    for _ in range(2):
        with pytest.raises(StaleAttemptError):
            rows.external.signal_succeeded(parked, attempt=7)
    assert rows.external.signal_many([(settled, Failed("no"))])[0].status == "refused"
    assert scrape().samples("refused_signals_total") == {
        ("StaleAttemptError", TASK): 2, ("JobAlreadyCompletedError", TASK): 1,
    }  # fmt: skip


def test_what_another_app_does_is_not_counted(scrape: Scrape, database_url: str) -> None:
    with closing(Rows(database_url, external_namespace="other")) as other:
        other.external.signal_succeeded(other.parked())
        other.external.sweep()
    page = scrape()
    assert page.samples("outcomes_total") == {}
    assert page.value("sweep_duration_seconds_count") == 0


# --- Registering ----------------------------------------------------------------------------------


def test_to_register_twice_is_to_register_once(
    rows: Rows, registry: CollectorRegistry, scrape: Scrape
) -> None:
    register(rows.app, registry, max_age=0)
    rows.external.signal_succeeded(rows.parked())
    assert scrape().samples("outcomes_total") == {("succeeded", TASK): 1}
    with pytest.raises(OptionError, match=r"^registry: has this app's metrics with "):
        register(rows.app, registry, database=False, max_age=0)


def test_a_registry_has_one_app(rows: Rows, registry: CollectorRegistry, database_url: str) -> None:
    register(rows.app, registry)
    with (
        closing(Rows(database_url)) as other,
        pytest.raises(OptionError, match=r"^registry: has another app's metrics: give each app"),
    ):
        register(other.app, registry)


def test_only_counts_can_be_shown(rows: Rows, registry: CollectorRegistry) -> None:
    register(rows.app, registry, database=False)
    rows.external.signal_succeeded(rows.parked())
    with serving_metrics(registry) as url:
        page = Page(url)
    assert page.samples("outcomes_total") == {("succeeded", TASK): 1}
    assert "celery_external_up" not in page.families


def test_an_age_is_a_number_of_seconds(rows: Rows, registry: CollectorRegistry) -> None:
    for wrong in (-1, float("nan")):
        with pytest.raises(OptionError, match=r"^max_age: must be a number of seconds, not "):
            JobCollector(rows.app, max_age=wrong)
    with pytest.raises(OptionError):
        register(rows.app, registry, max_age=-1)
    # Nothing is left of the wrong call.
    register(rows.app, registry)


def test_the_document_has_every_metric_and_no_other(scrape: Scrape) -> None:
    page = scrape()
    families = {name for name in page.families if name.startswith("celery_external")}
    # The time since when something is counted.
    shown = {name for name in families if not name.endswith("_created")}
    assert all(CONVENTION.fullmatch(name) for name in shown)
    assert all(one.documentation for one in page.families.values())
    document = (REPOSITORY / "docs" / "metrics.md").read_text()
    documented = re.findall(r"^\| `(celery_external_\w+)` \|", document, re.MULTILINE)
    kinds = {name: page.families[name].type for name in shown}
    assert set(documented) == {
        f"{name}_total" if kind == "counter" else name for name, kind in kinds.items()
    }
    used = set(re.findall(r"celery_external_\w+", document)) - {"celery_external_"}
    assert {name.removesuffix("_bucket") for name in used} == set(documented)
