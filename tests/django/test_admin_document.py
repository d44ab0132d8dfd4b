"""The admin of docs/django.md does what the page says of it."""

from __future__ import annotations

import re
from pathlib import Path

from tests.adapters.documents import write_site
from tests.django.runs import ADMIN, MEMORY, Project
from tests.processes import REPOSITORY

#: A job of the office's and another, and what somebody sees and does.
VISIT = """
import json, re
from django.contrib.auth.models import Permission, User
from django.core.management import call_command
from django.test import Client
from celery_external import get_job
from shop.tasks import approve
call_command("migrate", verbosity=0)
mine, other = approve.apply_async(("x",), labels=["office"]), approve.delay("y")
client = Client()
client.force_login(User.objects.create_superuser("alice"))
path = "/admin/celery_external/job/"
text = client.get(path).content.decode()
print(mine.id in text, other.id in text)
print(re.findall(r'<th class="field-(\\w+)|<td class="field-(\\w+)', text))
data = {"choice": "approve", "celery-external-targets": json.dumps([[mine.id, 1], [other.id, 1]])}
client.post(f"{path}act/approve/", data)
print(get_job(mine).result, get_job(other).kind)
rights = Permission.objects.filter(content_type__app_label="celery_external")
print(sorted(rights.values_list("codename", flat=True)))
"""
URLS = """
from django.contrib import admin
from django.urls import path
urlpatterns = [path("admin/", admin.site.urls)]
"""


def test_the_class_and_the_rights_of_the_page(tmp_path: Path, sqlite_url: str) -> None:
    site = write_site(tmp_path / "site", {}, "django.md")
    (site / "shop" / "__init__.py").touch()
    (site / "office.py").write_text(URLS)
    project = Project(
        {**MEMORY, "DATABASE_URL": sqlite_url, "PYTHONPATH": f"{REPOSITORY}:{site}"},
        {
            **ADMIN,
            "INSTALLED_APPS": [*ADMIN["INSTALLED_APPS"][:-1], "shop"],
            "ROOT_URLCONF": "office",
        },
    )
    listed, columns, decided, rights = project.manage("shell", "-c", VISIT).splitlines()[-4:]
    assert listed == "True False"
    names = ("name", "label_list", "parked_at", "deadline", "completed_by")
    assert re.findall(r"\w+", columns) == list(names)
    assert decided == "{'choice': 'approve'} None"
    page = (REPOSITORY / "docs" / "django.md").read_text()
    assert rights == str(sorted(re.findall(r"^\| `celery_external\.(\w+)` \|", page, re.MULTILINE)))
