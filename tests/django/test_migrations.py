"""The tables by ``manage.py migrate``: the same as Alembic's, where the jobs are, and shown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic.script import ScriptDirectory

import celery_external
from celery_external import migrations, schema
from tests.django.runs import MEMORY, Project
from tests.servers import Postgres

TABLES = (*schema.metadata.tables, schema.VERSION_TABLE)
#: What PostgreSQL's own catalogue says of tables, as it would be typed.
CATALOGUE = """
SELECT indexdef FROM pg_indexes WHERE tablename LIKE 'celery_external_%'
UNION ALL SELECT conrelid::regclass || pg_get_constraintdef(oid) FROM pg_constraint
WHERE conrelid::regclass::text LIKE 'celery_external_%'
UNION ALL SELECT table_name || (to_jsonb(c) - 'table_catalog' - 'udt_catalog')::text
FROM information_schema.columns c WHERE table_name LIKE 'celery_external_%' ORDER BY 1
"""
MASTER = "SELECT sql FROM sqlite_master WHERE tbl_name LIKE 'celery_external_%' ORDER BY 1"


@pytest.fixture(params=["sqlite", "postgresql"])
def urls(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, str]]:
    """An empty database, and one that Alembic has migrated."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.sqlite3'}", request.getfixturevalue("sqlite_url")
        return
    server: Postgres = request.getfixturevalue("postgres")
    empty = server.create_database()
    yield empty, request.getfixturevalue("postgres_url")
    server.drop_database(empty)


def describe(url: str) -> tuple[list[str], list[Any]]:
    """Everything that the database knows of our tables, and the revision."""
    engine = sa.create_engine(url)
    query = MASTER if engine.dialect.name == "sqlite" else CATALOGUE
    with engine.connect() as connection:
        found = [re.sub(r"\s+", " ", text or "") for text in connection.scalars(sa.text(query))]
        version = connection.scalars(sa.text(f"SELECT * FROM {schema.VERSION_TABLE}")).all()  # noqa: S608 - ours
    engine.dispose()
    return found, list(version)


def tables(url: str) -> set[str]:
    engine = sa.create_engine(url)
    found = sa.inspect(engine).get_table_names()
    engine.dispose()
    return set(found) & set(TABLES)


def test_both_make_the_same_tables(urls: tuple[str, str]) -> None:
    empty, by_alembic = urls
    project = Project({**MEMORY, "DATABASE_URL": empty})
    said = project.run(
        "try: ask.delay()\nexcept SchemaError as exc: print(exc)\n"
        "try: get_external().upgrade()\nexcept SettingsError as exc: print(exc)\n"
    )
    assert said.count("Run: python manage.py migrate celery_external --database=default") == 2
    assert "CREATE TABLE celery_external_job" in project.manage(
        "sqlmigrate", "celery_external", "0001"
    )
    project.manage("migrate", "--run-syncdb")
    assert describe(empty) == describe(by_alembic)
    assert describe(empty)[1] == [schema.REVISION]
    assert "No changes" in project.manage("makemigrations", "--check")
    assert f"is at {schema.REVISION} already" in project.celery("external", "upgrade")
    assert "0 jobs were due" in project.celery("external", "sweep")

    # Where Alembic was first, Django finds nothing to do.
    assert "OK" in Project({**MEMORY, "DATABASE_URL": by_alembic}).manage("migrate")


def test_each_revision_has_its_migration_of_django() -> None:
    folder = Path(celery_external.__file__).parent / "contrib" / "django" / "migrations"
    texts = "".join(path.read_text() for path in sorted(folder.glob("0*.py")))
    found = re.findall(r'UpgradeTables\((None|"\w+"), "(\w+)"\)', texts)
    revisions = ScriptDirectory.from_config(migrations.alembic_config()).walk_revisions()
    assert found == [
        (f'"{one.down_revision}"' if one.down_revision else "None", one.revision)
        for one in reversed(list(revisions))
    ]


def test_only_the_database_of_the_jobs_has_them(tmp_path: Path) -> None:
    default, other = (f"sqlite:///{tmp_path / name}" for name in ("one", "two"))
    project = Project(
        {**MEMORY, "DATABASE_URL": default, "OTHER_DATABASE_URL": other},
        {"CELERY_EXTERNAL_DATABASE_URL": "django://other"},
    )
    project.manage("migrate", "--run-syncdb")
    project.manage("migrate", "--database", "other")
    assert (tables(default), tables(other)) == (set(), set(TABLES))
    said = project.run(
        """
with transaction.atomic(using="other"):
    job = ask.delay()
with transaction.atomic():
    # Another database's transaction is no matter to it.
    assert ask.delay().id and get_job(job, using="other").state == "PENDING"
    try:
        ask.apply_async(using="default")
    except OptionError as exc:
        print(exc)
try:
    ask.apply_async(using="none")
except OptionError as exc:
    print(exc)
"""
    )
    assert "one transaction cannot span the two" in said
    assert "there is no 'none' in Django's DATABASES, only default, other" in said
