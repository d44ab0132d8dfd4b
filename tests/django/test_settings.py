"""``external_database_url = "django://…"``: what it needs is said; and ``using=`` without it."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.django.runs import MEMORY, Project
from tests.processes import REPOSITORY
from tests.servers import Postgres

ALONE = """
from celery import Celery
from celery_external import get_external
app = Celery(broker="memory://")
app.conf.external_database_url = "django://default"
get_external(app)
"""


def test_django_without_settings() -> None:
    done = subprocess.run(
        [sys.executable, "-c", ALONE], cwd=REPOSITORY, check=False, capture_output=True, text=True
    )
    assert "Setting external_database_url: needs Django's settings" in done.stderr


@pytest.mark.parametrize(
    ("conf", "problem"),
    [
        ({"CELERY_EXTERNAL_DATABASE_URL": "django://"}, "must be django:// and an alias"),
        ({"CELERY_EXTERNAL_DATABASE_URL": "django://x"}, "no 'x' in Django's DATABASES"),
        ({"DATABASE": {"ENGINE": "django.db.backends.dummy"}}, "must be PostgreSQL with psycopg 3"),
        (
            {
                "INSTALLED_APPS": ["tests.django.project.shop"],
                "CELERY_EXTERNAL_DATABASE_URL": "django://default",
            },
            'needs "celery_external.contrib.django" in INSTALLED_APPS',
        ),
    ],
)
def test_what_is_missing_is_said(sqlite_url: str, conf: dict[str, object], problem: str) -> None:
    said = Project({**MEMORY, "DATABASE_URL": sqlite_url}, conf).run("get_external()", fails=True)
    assert "Setting external_database_url: " in said
    assert problem in said


JOIN = """
Order.objects.create(name="before")
with transaction.atomic():
    Order.objects.create(name="one")
    job = ask.apply_async(using="default")
    try:
        get_job(job)
        print("seen")
    except JobNotFoundError:
        print("unseen", get_job(job, using="default").state)
print(get_job(job).state)
try:
    with transaction.atomic():
        signal_succeeded(job, using="default")
        raise ValueError
except ValueError:
    print(get_job(job).state)
"""


def test_using_joins_where_the_jobs_have_connections_of_their_own(database_url: str) -> None:
    # Times that Django reads without their zone are told from ours all the same.
    conf = {
        "CELERY_EXTERNAL_DATABASE_URL": database_url,
        "USE_TZ": False,
        "TIME_ZONE": "Asia/Tokyo",
    }
    project = Project({**MEMORY, "DATABASE_URL": database_url}, conf)
    project.manage("migrate", "--run-syncdb")
    assert project.run(JOIN).split() == ["unseen", "PENDING", "PENDING", "PENDING"]


def test_using_another_database_is_refused(postgres_url: str, postgres: Postgres) -> None:
    conf = {"CELERY_EXTERNAL_DATABASE_URL": postgres_url}
    elsewhere = postgres.create_database()
    project = Project({**MEMORY, "DATABASE_URL": elsewhere}, conf)
    said = project.run('ask.apply_async(using="default")', fails=True)
    assert "OptionError: using: is a connection to django://default (postgresql test_" in said
    assert "one transaction cannot span the two" in said
    postgres.drop_database(elsewhere)
