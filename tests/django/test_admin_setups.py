"""Which databases of jobs the admin shows, and what says so where it does not."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.django.runs import ADMIN, MEMORY, Project
from tests.processes import REPOSITORY

#: In one process: Django takes longer to start than to do all this.
BEGIN = """
import json
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.db import connections
from django.test import Client
for alias in connections:
    call_command("migrate", database=alias, verbosity=0, run_syncdb=True)
call_command("check")
client = Client()
client.force_login(User.objects.create_superuser("alice"))
path = "/admin/celery_external/job/"
"""
#: Somebody looks at a job and cancels it.
STEER = """
job = ask.delay("cup")
listed, shown = client.get(path), client.get(f"{path}{job.id}/change/")
print(job.id in listed.content.decode(), shown.status_code)
targets = json.dumps([[job.id, 1]])
print(client.post(f"{path}act/cancel/", {"celery-external-targets": targets}).status_code)
print(get_job(job).kind, get_job(job).completed_by, LogEntry.objects.count())
"""
STEERED = ["True 200", "302", "cancelled alice 1"]
#: Where the users are.
RIGHTS = """
rights = Permission.objects.filter(content_type__app_label="celery_external")
print(*sorted(rights.values_list("codename", flat=True)))
call_command("dumpdata", "celery_external", database="other")
"""
#: Nobody is shown anything, and nothing fails.
LOOK = """
for where in (path, f"{path}x/change/", f"{path}act/cancel/?job=x&attempt=1"):
    print(client.get(where).status_code)
print(path in client.get("/admin/").content.decode())
"""


def test_jobs_in_another_database_of_djangos(tmp_path: Path) -> None:
    default, other = (f"sqlite:///{tmp_path / name}" for name in ("one", "two"))
    project = Project(
        {**MEMORY, "DATABASE_URL": default, "OTHER_DATABASE_URL": other},
        {**ADMIN, "CELERY_EXTERNAL_DATABASE_URL": "django://other"},
    )
    said = project.run(BEGIN + STEER + RIGHTS).splitlines()
    assert "System check identified no issues (0 silenced)." in said
    assert said[-5:] == [*STEERED, "cancel_job decide_job extend_job rerun_job view_job", "[]"]


def test_jobs_by_connections_of_their_own_to_djangos_database(database_url: str) -> None:
    conf = {**ADMIN, "CELERY_EXTERNAL_DATABASE_URL": database_url}
    said = Project({**MEMORY, "DATABASE_URL": database_url}, conf).run(BEGIN + STEER).splitlines()
    assert "System check identified no issues (0 silenced)." in said
    assert said[-3:] == STEERED


def test_jobs_elsewhere_are_refused_by_a_check(tmp_path: Path, sqlite_url: str) -> None:
    conf = {**ADMIN, "CELERY_EXTERNAL_DATABASE_URL": sqlite_url}
    project = Project({**MEMORY, "DATABASE_URL": f"sqlite:///{tmp_path / 'site'}"}, conf)
    # Whoever does without the pages goes on.
    said = project.run(BEGIN + LOOK)
    assert "celery_external.W001" in said
    assert f"they are in {sqlite_url}, which is not in DATABASES" in said
    assert 'CELERY_EXTERNAL_DATABASE_URL = "django://<its alias>"' in said
    lines = [line for line in said.splitlines() if line in {"200", "302", "403", "500"}]
    assert lines == ["403"] * 3
    assert said.splitlines()[-1] == "False"


def test_settings_that_are_wrong(sqlite_url: str) -> None:
    conf = {**ADMIN, "CELERY_EXTERNAL_SWEEP_INTERVAL": -1}
    said = Project({**MEMORY, "DATABASE_URL": sqlite_url}, conf).manage("check", fails=True)
    assert "(celery_external.E001) Setting external_sweep_interval: must be" in said


ALONE = """
import sys
import django
from django.conf import settings
admin = ["django.contrib.admin", "django.contrib.auth", "django.contrib.messages"]
settings.configure(
    INSTALLED_APPS=[
        *(admin if "admin" in sys.argv else []), "django.contrib.contenttypes",
        "celery_external.contrib.django",
    ],
    SILENCED_SYSTEM_CHECKS=["admin.E403", "admin.E408", "admin.E409", "admin.E410"],
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": "none"}},
)
django.setup()
from django.core.management import call_command
call_command("check")
print("celery_external.contrib.django.admin" in sys.modules)
if "admin" in sys.argv:
    from django.contrib import admin
    print([model for model in admin.site._registry if model.__name__ == "Job"])
"""


@pytest.mark.parametrize("has_admin", [True, False])
def test_a_project_without_a_celery_app(has_admin: bool) -> None:  # noqa: FBT001 - a parameter
    done = subprocess.run(
        [sys.executable, "-c", ALONE, *(["admin"] if has_admin else [])],
        cwd=REPOSITORY, check=True, capture_output=True, text=True,
    )  # fmt: skip
    # Who has no admin has no page of ours, and is told nothing about it.
    assert ("celery_external.W002" in done.stderr) == has_admin
    assert done.stdout.splitlines()[-2 if has_admin else -1] == str(has_admin)
    assert ("[<class 'celery_external.contrib.django.models.Job'>]" in done.stdout) == has_admin
