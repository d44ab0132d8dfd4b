"""The schema: migrations equal the metadata, run together or not at all, and say what is wrong."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from celery import Celery
from sqlalchemy.pool import NullPool

from celery_external import External, SchemaError, get_external, indexes, migrations, schema
from tests.servers import Postgres

OURS = {*indexes.metadata.tables, schema.VERSION_TABLE}


@pytest.fixture
def empty_postgres_url(postgres: Postgres) -> Iterator[str]:
    """A PostgreSQL database without tables."""
    url = postgres.create_database()
    yield url
    postgres.drop_database(url)


MakeExternal = Callable[[str], External]


@pytest.fixture
def make_external() -> Iterator[MakeExternal]:
    """The package on apps that have met the database never before."""
    made: list[External] = []

    def make(url: str) -> External:
        app = Celery("schema", broker="memory://", set_as_current=False)
        app.conf.external_database_url = url
        made.append(get_external(app))
        return made[-1]

    yield make
    for external in made:
        external._installation._unchecked.dispose()  # noqa: SLF001 - the tests' own clean-up


def connect(url: str) -> sa.Engine:
    return sa.create_engine(url, poolclass=NullPool)


def tables(url: str) -> set[str]:
    return set(sa.inspect(connect(url)).get_table_names())


def revision(url: str) -> object:
    with connect(url).connect() as connection:
        return connection.scalar(sa.text(f"SELECT version_num FROM {schema.VERSION_TABLE}"))  # noqa: S608 - ours


def execute(url: str, statement: str) -> None:
    with connect(url).begin() as connection:
        connection.execute(sa.text(statement))


# --- Migrations and metadata ----------------------------------------------------------------------


#: What tells the whole of a schema, of each kind of database.
CATALOGUE = {
    "sqlite": {"objects": "SELECT type, name, tbl_name, sql FROM sqlite_master"},
    "postgresql": {
        "columns": """SELECT table_name, column_name, data_type, is_nullable, column_default,
            is_identity, identity_generation
            FROM information_schema.columns WHERE table_schema = 'public'""",
        "indexes": "SELECT tablename, indexname, indexdef FROM pg_indexes "
        "WHERE schemaname = 'public'",
        "constraints": """SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid)
            FROM pg_constraint WHERE connamespace = 'public'::regnamespace""",
    },
}


def described(url: str) -> dict[str, list[list[str]]]:
    """Every column, index and constraint as the database itself describes it."""
    engine = connect(url)
    with engine.connect() as connection:
        found = {
            name: [
                [" ".join(str(value).split()) for value in row]
                for row in connection.execute(sa.text(query))
            ]
            for name, query in CATALOGUE[engine.dialect.name].items()
        }
    return {
        name: sorted(row for row in rows if schema.VERSION_TABLE not in " ".join(row))
        for name, rows in found.items()
    }


def test_the_migrated_schema_is_the_metadatas(
    database_url: str, postgres: Postgres, tmp_path: Path
) -> None:
    is_sqlite = database_url.startswith("sqlite")
    created = f"sqlite:///{tmp_path / 'created'}" if is_sqlite else postgres.create_database()
    indexes.metadata.create_all(connect(created))

    assert described(database_url) == described(created)

    if not is_sqlite:
        postgres.drop_database(created)


def test_alembic_sees_no_difference(database_url: str) -> None:
    engine = connect(database_url)

    def is_ours(indexed: object, name: str | None, *_rest: object) -> bool:
        # Alembic does not know of `ddl_if`.
        is_gin = name == "celery_external_job_labels"
        return indexed is not None and not (is_gin and engine.dialect.name == "sqlite")

    options = {
        "version_table": schema.VERSION_TABLE,
        "compare_type": True,
        "include_object": is_ours,
    }
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, indexes.metadata) == []


def test_the_indexes_are_those_of_the_design(postgres_url: str) -> None:
    found = {
        name: definition.partition(" USING ")[2]
        for table, name, definition in described(postgres_url)["indexes"]
        if table == "celery_external_job"
    }
    assert found == {
        "celery_external_job_pkey": "btree (namespace, id)",
        "celery_external_job_wake_at": "btree (namespace, wake_at) WHERE (wake_at IS NOT NULL)",
        "celery_external_job_created_at": "btree (namespace, created_at, id)",
        "celery_external_job_parked_at": (
            "btree (namespace, parked_at, id) WHERE (parked_at IS NOT NULL)"
        ),
        "celery_external_job_completed_at": (
            "btree (namespace, completed_at, id) WHERE (completed_at IS NOT NULL)"
        ),
        "celery_external_job_unsettled": (
            "btree (namespace, state, task, parked_at, id, sends) "
            "WHERE ( CASE WHEN ((kind IS NULL) OR (wake_at IS NOT NULL)) THEN 1 ELSE 0 END = 1)"
        ),
        "celery_external_job_root_id": "btree (namespace, root_id)",
        "celery_external_job_labels": "gin (labels)",
        "celery_external_job_reference": (
            "btree (namespace, task, reference) WHERE (reference IS NOT NULL)"
        ),
    }


# --- Upgrading ------------------------------------------------------------------------------------


def test_an_upgrade_makes_our_tables_and_no_others(
    empty_url: str, make_external: MakeExternal
) -> None:
    external = make_external(empty_url)
    assert external.current_revision() is None

    external.upgrade()

    assert tables(empty_url) == OURS
    assert external.current_revision() == revision(empty_url) == schema.REVISION


def test_an_upgrade_may_be_repeated(empty_url: str, make_external: MakeExternal) -> None:
    external = make_external(empty_url)
    external.upgrade()
    before = described(empty_url)

    external.upgrade()

    assert (described(empty_url), revision(empty_url)) == (before, schema.REVISION)


def test_upgrades_at_once_take_turns(empty_url: str, make_external: MakeExternal) -> None:
    ready = threading.Barrier(6)

    def upgrade(_number: int) -> str | None:
        external = make_external(empty_url)
        ready.wait()
        external.upgrade()
        return external.current_revision()

    with ThreadPoolExecutor(6) as pool:
        assert list(pool.map(upgrade, range(6))) == [schema.REVISION] * 6
    assert tables(empty_url) == OURS


def test_an_upgrade_that_fails_leaves_nothing(empty_url: str, make_external: MakeExternal) -> None:
    # The second table cannot be made, when the first has been.
    execute(empty_url, "CREATE TABLE celery_external_history (in_the_way int)")

    with pytest.raises(Exception, match=r"celery_external_history\W+already exists"):
        make_external(empty_url).upgrade()

    assert tables(empty_url) == {"celery_external_history"}
    execute(empty_url, "DROP TABLE celery_external_history")
    make_external(empty_url).upgrade()
    assert tables(empty_url) == OURS


def scripts() -> list[Any]:
    """The revisions, oldest first."""
    return list(ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions())[::-1]


def test_the_newest_revision_is_the_one_the_code_is_for() -> None:
    assert scripts()[-1].revision == schema.REVISION
    assert [script.down_revision for script in scripts()] == [
        None,
        *(script.revision for script in scripts()[:-1]),
    ]


@pytest.mark.parametrize("script", scripts(), ids=lambda script: script.revision)
def test_each_revision_upgrades_from_the_one_before(empty_url: str, script: Any) -> None:
    with connect(empty_url).begin() as connection:
        if script.down_revision is not None:
            migrations.upgrade_on(connection, script.down_revision)
        migrations.upgrade_on(connection, script.revision)
    assert revision(empty_url) == script.revision


def test_there_is_no_way_back() -> None:
    assert not hasattr(migrations, "downgrade")
    assert not hasattr(External, "downgrade")
    assert [script for script in scripts() if hasattr(script.module, "downgrade")] == []


# --- In a host's own migration --------------------------------------------------------------------


def test_a_host_upgrades_in_its_own_transaction(
    empty_postgres_url: str, make_external: MakeExternal
) -> None:
    engine = connect(empty_postgres_url)
    with engine.connect() as connection:
        migrations.upgrade_on(connection)
        assert sa.inspect(connection).has_table("celery_external_job")
        connection.rollback()
    assert tables(empty_postgres_url) == set()

    with engine.begin() as connection:
        connection.execute(sa.text("CREATE TABLE alembic_version (version_num text)"))
        connection.execute(sa.text("INSERT INTO alembic_version VALUES ('the host''s own')"))
        migrations.upgrade_on(connection)

    assert tables(empty_postgres_url) == OURS | {"alembic_version"}
    with engine.connect() as connection:
        found = connection.scalars(sa.text("SELECT version_num FROM alembic_version")).all()
    assert found == ["the host's own"]
    assert make_external(empty_postgres_url).find_jobs().jobs == ()


def test_a_host_on_sqlite_upgrades_too(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'host.sqlite3'}"
    with connect(url).begin() as connection:
        migrations.upgrade_on(connection)
    assert tables(url) == OURS


# --- A database that does not fit -----------------------------------------------------------------

NO_TABLES = "{database} has no celery-external tables. Run: celery -A <your app> external upgrade"
OTHER = (
    "{database} has schema {found}, this version of celery-external needs {wanted}. "
    "Run: celery -A <your app> external upgrade "
    "(or upgrade the package, if the schema is the newer of the two)"
)


def test_postgresql_without_tables(empty_postgres_url: str, make_external: MakeExternal) -> None:
    external = make_external(empty_postgres_url)
    for call in (lambda: external.get_job("x"), external.sweep, external.find_jobs):
        with pytest.raises(SchemaError) as caught:
            call()
        assert str(caught.value) == NO_TABLES.format(database=empty_postgres_url)
        assert caught.value.found is None
    assert tables(empty_postgres_url) == set()


@pytest.mark.parametrize("found", ["0000", "9999"])
def test_postgresql_at_another_revision(
    postgres_url: str, found: str, make_external: MakeExternal
) -> None:
    execute(postgres_url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '{found}'")  # noqa: S608 - ours
    with pytest.raises(SchemaError) as caught:
        make_external(postgres_url).get_job("x")
    assert str(caught.value) == OTHER.format(
        database=postgres_url, found=found, wanted=schema.REVISION
    )


def test_a_newer_schema_is_not_touched(database_url: str, make_external: MakeExternal) -> None:
    execute(database_url, f"UPDATE {schema.VERSION_TABLE} SET version_num = '9999'")  # noqa: S608 - ours
    external = make_external(database_url)
    for call in (external.upgrade, external.sweep):
        with pytest.raises(SchemaError) as caught:
            call()
        assert str(caught.value) == OTHER.format(
            database=external.database_name, found="9999", wanted=schema.REVISION
        )
    assert revision(database_url) == "9999"


def test_after_the_upgrade_the_same_process_goes_on(
    empty_postgres_url: str, make_external: MakeExternal
) -> None:
    external = make_external(empty_postgres_url)
    with pytest.raises(SchemaError):
        external.sweep()
    external.upgrade()
    assert external.sweep() == 0


def test_sqlite_makes_itself_and_says_where(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    make_external: MakeExternal,
) -> None:
    monkeypatch.chdir(tmp_path)
    with caplog.at_level(logging.INFO, "celery_external"):
        external = make_external("sqlite:///jobs.sqlite3")
        assert tables(f"sqlite:///{tmp_path / 'jobs.sqlite3'}") == set()
        assert external.sweep() == 0

    assert tables(f"sqlite:///{tmp_path / 'jobs.sqlite3'}") == OURS
    where = f"sqlite:///{tmp_path / 'jobs.sqlite3'}"
    assert f"celery-external keeps its jobs in {where}" in caplog.messages
    assert external.database_name == where
