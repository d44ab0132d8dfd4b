"""The doctor: each fault is made, found, and has a remedy; what is well is said to be well."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from celery_external import External, ExternalTask, Finding, get_external, schema
from celery_external.schema import VERSION_TABLE
from tests.rows import NO_BROKER, Rows, ask, forget_shared_tasks
from tests.servers import Postgres

MONTH = 30 * 86400.0
SECRET = "k" * 32
Make = Callable[..., External]


@pytest.fixture
def make(sqlite_url: str) -> Iterator[Make]:
    """Makes apps with settings of their own, with one external task."""
    made: list[Celery] = []

    def make(*, options: dict[str, Any] | None = None, **conf: Any) -> External:
        app = Celery("ill", broker="memory://", set_as_current=False)
        app.conf.update({"external_database_url": sqlite_url, **conf})
        declare: Any = app.task(base=ExternalTask, name="ill.ask", shared=False, **(options or {}))
        declare(ask)
        forget_shared_tasks(app)
        made.append(app)
        return get_external(app)

    yield make
    for app in made:
        app.close()


def found(external: External) -> dict[str, Finding]:
    """The findings by their names, which are different."""
    findings = external.diagnose()
    by_name = {finding.name: finding for finding in findings}
    assert len(by_name) == len(findings)
    return by_name


def ill(external: External) -> Finding:
    """The only finding that is not well."""
    (only,) = [finding for finding in external.diagnose() if finding.level != "ok"]
    assert only.remedy
    return only


def test_where_all_is_well(rows: Rows) -> None:
    rows.parked(timeout=60)
    rows.pending()
    rows.owed()
    rows.settled()
    findings = rows.external.diagnose()
    assert [finding.name for finding in findings] == [
        *("database", "schema", "sweep", "retention", "owed", "stuck", "pending"),
        *("broker", "results", "secrets"),
    ]
    assert {finding.level for finding in findings} == {"ok"}
    assert {finding.jobs for finding in findings} == {()}


# --- The database ---------------------------------------------------------------------------------

NOWHERE = "postgresql+psycopg://me:s3cr3t@127.0.0.1:1/nothing"


def test_a_database_that_is_away(make: Make) -> None:
    external = make(external_database_url=NOWHERE)
    finding = ill(external)
    assert (finding.name, finding.level) == ("database", "error")
    assert finding.text.startswith("postgresql+psycopg://me:***@127.0.0.1:1/nothing is not avail")
    assert "s3cr3t" not in str(external.diagnose())
    assert {"schema", "sweep"} & found(external).keys() == set()


def test_a_database_that_goes_away(make: Make, tmp_path: Path) -> None:
    external = make(external_database_url=f"sqlite:///{tmp_path}/there/jobs.sqlite3")
    assert ill(external).name == "database"
    (tmp_path / "there").mkdir()
    assert found(external)["database"].level == "ok"


def test_a_file_that_is_not_there_yet_is_no_fault(make: Make, tmp_path: Path) -> None:
    external = make(external_database_url=f"sqlite:///{tmp_path}/new.sqlite3")
    assert found(external)["schema"] == Finding(
        "schema", "ok", "There are no tables yet: the first use makes them"
    )
    assert external.current_revision() is None


def test_tables_that_nobody_made(make: Make, postgres: Postgres) -> None:
    url = postgres.create_database()
    external = make(external_database_url=url)
    assert ill(external) == Finding(
        "schema",
        "error",
        f"{external.database_name} has no celery-external tables",
        "Run: celery -A <your app> external upgrade; or upgrade the package, if the tables are "
        "the newer",
    )
    external.upgrade()
    assert (
        found(external)["schema"].text == f"The tables are at {schema.REVISION}, as they should be"
    )
    external._installation.database.dispose()  # noqa: SLF001 - or the server keeps the database
    postgres.drop_database(url)


def test_tables_of_another_version(rows: Rows, make: Make) -> None:
    with rows.database.engine.connect() as connection:
        connection.execute(sa.text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608
    external = make(external_database_url=rows.database.url.render_as_string(hide_password=False))
    finding = ill(external)
    assert finding.name == "schema"
    assert "has schema 9999, this version of celery-external needs 0001" in finding.text


def test_tables_that_are_spoilt(rows: Rows, caplog: pytest.LogCaptureFixture) -> None:
    with rows.database.engine.connect() as connection:
        connection.execute(sa.text("ALTER TABLE celery_external_job RENAME COLUMN sends TO ends"))
    with caplog.at_level(logging.ERROR, "celery_external"):
        finding = ill(rows.external)
    assert (finding.name, finding.level) == ("database", "error")
    assert "sends" in finding.text
    if rows.database.dialect_name == "postgresql":
        assert "The doctor cannot look at: database" in caplog.text


# --- The jobs -------------------------------------------------------------------------------------


def test_nobody_sweeps(rows: Rows) -> None:
    job_ids = [rows.parked(timeout=10) for _ in range(7)]
    for n, job_id in enumerate(job_ids):
        rows.move(job_id, deadline=-100 + n, wake_at=-100 + n)
    finding = ill(rows.external)
    assert (finding.name, finding.level) == ("sweep", "error")
    assert finding.text.startswith("7 jobs waited for the sweep for more than 60 s: nobody sweeps")
    assert f"a worker that takes the queue {rows.queue};" in str(finding.remedy)
    assert finding.jobs == tuple(job_ids[:5])

    rows.external.sweep()
    assert found(rows.external)["sweep"].level == "ok"


def test_a_sweep_may_be_late_by_some_intervals(database_url: str) -> None:
    with closing(Rows(database_url, external_sweep_interval=100)) as rows:
        rows.move(rows.parked(timeout=10), deadline=-590, wake_at=-590)
        assert found(rows.external)["sweep"].level == "ok"
        rows.move_all(deadline=-610, wake_at=-610)
        assert found(rows.external)["sweep"].level == "error"


def test_nobody_purges(rows: Rows) -> None:
    rows.move(rows.settled(), completed_at=-MONTH - 3000)
    assert found(rows.external)["retention"].level == "ok"
    rows.move_all(completed_at=-MONTH - 4000)
    finding = ill(rows.external)
    assert (finding.name, finding.level) == ("retention", "warning")
    rows.external.sweep()
    assert found(rows.external)["retention"].level == "ok"


def test_nothing_is_purged_as_set(make: Make) -> None:
    finding = found(make(external_retention=None))["retention"]
    assert (finding.level, "kept for ever" in finding.text) == ("ok", True)


def test_no_worker_takes_an_outcome(rows: Rows) -> None:
    job_id = rows.owed()
    rows.move(job_id, completed_at=-590)
    assert found(rows.external)["owed"].level == "ok"
    rows.move(job_id, completed_at=-610)
    finding = ill(rows.external)
    assert (finding.name, finding.level, finding.jobs) == ("owed", "warning", (job_id,))
    assert finding.text == (
        f"1 job had an outcome more than 600 s ago that Celery has not taken. Queues: {rows.queue}"
    )
    assert rows.take(job_id)
    rows.settle(job_id)
    assert found(rows.external)["owed"].level == "ok"


def sweep_again(rows: Rows, job_id: str, number: int) -> None:
    """Have so many sweeps find the job's message due."""
    for _ in range(number):
        rows.move(job_id, due_at=-1, wake_at=-1)
        assert rows.external.sweep() == 1


def test_no_worker_takes_a_message(rows: Rows) -> None:
    job_id = rows.pending()
    rows.move(job_id, created_at=-3700)
    assert found(rows.external)["pending"].level == "ok"
    sweep_again(rows, job_id, 1)
    finding = ill(rows.external)
    assert (finding.name, finding.level, finding.jobs) == ("pending", "warning", (job_id,))
    assert finding.text == f"1 job waited for a worker for more than 3600 s. Queues: {rows.queue}"

    sweep_again(rows, job_id, 3)
    findings = found(rows.external)
    assert findings["pending"].level == "warning"
    assert (findings["stuck"].level, findings["stuck"].jobs) == ("error", (job_id,))
    assert rows.external.get_job(job_id).stuck
    # It is not sent any more, and not overdue either.
    assert findings["sweep"].level == "ok"

    rows.external.cancel_job(job_id)
    assert {finding.level for finding in rows.external.diagnose()} == {"ok"}


def test_an_outcome_is_stuck(rows: Rows) -> None:
    job_id = rows.owed()
    sweep_again(rows, job_id, 3)
    assert found(rows.external)["stuck"].level == "ok"
    sweep_again(rows, job_id, 1)
    finding = ill(rows.external)
    assert (finding.name, finding.jobs) == ("stuck", (job_id,))
    assert rows.take(job_id)
    rows.settle(job_id)
    assert found(rows.external)["stuck"].level == "ok"
    assert not rows.external.get_job(job_id).stuck


def test_a_job_of_the_future_is_no_fault(rows: Rows) -> None:
    job_id = rows.pending(countdown=86400)
    rows.move(job_id, created_at=-7200)
    assert {finding.level for finding in rows.external.diagnose()} == {"ok"}


def test_of_very_many_a_thousand_are_counted(rows: Rows) -> None:
    job_id = rows.owed()
    rows.move(job_id, completed_at=-1000)
    rows.copy(job_id, 1100)
    finding = ill(rows.external)
    assert finding.text.startswith("1,000 or more jobs had an outcome")
    assert len(finding.jobs) == 5


# --- What else is needed --------------------------------------------------------------------------


def test_a_broker_that_is_away(make: Make) -> None:
    finding = ill(make(broker_url=NO_BROKER.replace("//", "//:s3cr3t@")))
    assert (finding.name, finding.level) == ("broker", "error")
    assert finding.text.startswith("redis://:**@127.0.0.1:1/0 cannot be reached: ")
    assert "s3cr3t" not in str(finding)


def test_a_broker_that_is_there(make: Make, broker_url: str) -> None:
    finding = found(make(broker_url=broker_url))["broker"]
    assert (finding.level, finding.text.endswith(" answers")) == ("ok", True)


def test_a_broker_of_no_known_kind(make: Make) -> None:
    finding = ill(make(broker_url="nonsense://"))
    assert (finding.name, finding.remedy) == ("broker", "The log has the traceback")


def test_results_that_are_forgotten_before_the_job_ends(make: Make, tmp_path: Path) -> None:
    files = f"file://{tmp_path}"
    for options in ({}, {"timeout": 86401}, {"timeout": timedelta(hours=25)}):
        finding = ill(make(result_backend=files, options=options))
        assert (finding.name, finding.level) == ("results", "warning")
        assert finding.text.startswith("ill.ask may wait for longer than the 86400 s (result_exp")
        assert "FilesystemBackend" in finding.text


def test_results_that_are_kept_for_long_enough(make: Make, tmp_path: Path, result_url: str) -> None:
    files = f"file://{tmp_path}"
    well = "Results are kept for as long as jobs may wait"
    for external in (
        make(),
        make(result_backend=files, options={"timeout": 86400}),
        make(result_backend=files, options={"timeout": timedelta(days=1)}),
        make(result_backend=files, result_expires=None),
        make(result_backend=result_url, options={"timeout": 60}),
    ):
        assert found(external)["results"] == Finding("results", "ok", well)
    renewed = found(make(result_backend=result_url))["results"]
    assert renewed.level == "ok"
    assert renewed.text.endswith(
        "; the sweep has chords and saved groups with them kept for longer"
    )


def test_results_that_go_to_a_process(make: Make) -> None:
    finding = ill(make(result_backend="rpc://"))
    assert (finding.name, finding.level) == ("results", "warning")
    assert "a result of ill.ask is lost" in finding.text


def test_a_result_backend_of_no_known_kind(make: Make) -> None:
    finding = ill(make(result_backend="nonsense://"))
    assert (finding.name, finding.level) == ("results", "error")


def test_links_without_a_secret(make: Make) -> None:
    base = "https://shop.example/external"
    finding = ill(make(external_base_url=base))
    assert (finding.name, finding.level) == ("secrets", "error")
    assert "external_secret_keys" in str(finding.remedy)
    texts = {
        found(make(**conf))["secrets"].text
        for conf in (
            {},
            {"external_secret_keys": [SECRET]},
            {"external_secret_keys": [SECRET], "external_base_url": base},
        )
    }
    assert texts == {
        "No secret is set: there are no tokens and links",
        "Tokens are signed; links are off",
        f"Tokens are signed; links lead to {base}",
    }
