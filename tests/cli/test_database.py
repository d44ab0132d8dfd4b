"""``upgrade``, ``current``, ``sweep``, and what is wrong around a command."""

from __future__ import annotations

from contextlib import closing

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from celery_external import schema
from tests.cli.shell import Said, Shell
from tests.rows import Rows
from tests.servers import Postgres

NO_TABLES = "Error: {} has no celery-external tables. Run: celery -A <your app> external upgrade\n"
NO_DATABASE = "postgresql+psycopg://user:s3cr3t@127.0.0.1:1/db"


def celery(database_url: str, *arguments: str, **env: str) -> Said:
    """Run ``celery -A tests.apps.core external …``."""
    return Shell(database_url).run(*arguments, **env)


# --- upgrade --------------------------------------------------------------------------------------


def test_upgrade_makes_the_tables_and_may_be_repeated(empty_url: str) -> None:
    if empty_url.startswith("postgresql"):
        assert celery(empty_url, "current") == (1, "", NO_TABLES.format(empty_url))
    made = celery(empty_url, "upgrade")
    assert made == (0, f"{empty_url}: no tables -> {schema.REVISION}\n", "")

    assert celery(empty_url, "current") == (0, f"{empty_url} is at {schema.REVISION}\n", "")
    again = celery(empty_url, "upgrade")
    assert again == (0, f"{empty_url} is at {schema.REVISION} already\n", "")


def test_upgrade_of_a_newer_database_says_so(database_url: str) -> None:
    engine = sa.create_engine(database_url, poolclass=NullPool)
    with engine.begin() as connection:
        connection.execute(sa.text(f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'"))  # noqa: S608 - ours

    code, out, error = celery(database_url, "upgrade")

    assert (code, out) == (1, "")
    assert error == (
        f"Error: {database_url} has schema 9999, this version of celery-external needs "
        f"{schema.REVISION}. Run: celery -A <your app> external upgrade "
        "(or upgrade the package, if the schema is the newer of the two)\n"
    )


# --- sweep ----------------------------------------------------------------------------------------


def test_sweep_does_what_is_due(database_url: str) -> None:
    with closing(Rows(database_url)) as rows:
        job_ids = [rows.parked(timeout=9) for _ in range(2)]
        rows.parked()
        for job_id in job_ids:
            rows.move(job_id, wake_at=-1, deadline=-1)

        code, out, _ = celery(database_url, "sweep")
        assert (code, out) == (0, "2 jobs were due\n")
        assert [rows.get(job_id)["state"] for job_id in job_ids] == ["FAILURE", "FAILURE"]

        assert celery(database_url, "sweep") == (0, "0 jobs were due\n", "")


def test_sweep_of_postgresql_without_tables_says_what_to_run(postgres: Postgres) -> None:
    url = postgres.create_database()
    assert celery(url, "sweep") == (1, "", NO_TABLES.format(url))
    postgres.drop_database(url)


# --- What is wrong --------------------------------------------------------------------------------


def test_a_database_that_is_away() -> None:
    code, out, error = celery(NO_DATABASE, "sweep")
    assert (code, out) == (1, "")
    assert error.startswith(
        "Error: postgresql+psycopg://user:***@127.0.0.1:1/db is not available, "
        "nothing was recorded: "
    )
    assert error.count("\n") == 1
    assert "s3cr3t" not in error


def test_a_setting_that_cannot_be_used(sqlite_url: str) -> None:
    # This app registers a task as it is imported: it is Celery that says that it cannot be.
    code, out, error = celery(sqlite_url, "sweep", CONF='{"external_sweep_interval": -1}')
    assert (code, out) == (2, "")
    assert error.strip().endswith(
        "SettingsError: Setting external_sweep_interval: "
        "must be a positive number of seconds, not -1"
    )


def test_a_command_that_is_none(sqlite_url: str) -> None:
    code, _, error = celery(sqlite_url, "uprade")
    assert code == 2
    assert "No such command 'uprade'" in error
