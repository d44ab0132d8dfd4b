"""Jobs in Django's admin: its tests by Django's runner, a site that is served, and a worker."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest

from celery_external import External
from tests.django.runs import ADMIN, MEMORY, PROJECT, Project
from tests.django.test_suite import run
from tests.processes import Process, Worker
from tests.servers import Postgres
from tests.waiting import wait_for

SHOP = f"{PROJECT}.shop"
TESTS = (f"{SHOP}.tests_admin", f"{SHOP}.tests_admin_acts", f"{SHOP}.tests_admin_outages.Outages")
ON_A_SERVER = f"{SHOP}.tests_admin_outages.OnAServer"
JOBS = "/admin/celery_external/job/"


def test_on_postgresql(postgres: Postgres) -> None:
    run(Project({**MEMORY, "DATABASE_URL": postgres.create_database()}, ADMIN), *TESTS, ON_A_SERVER)


def test_on_sqlite(sqlite_url: str) -> None:
    # And where Django has naive times, and each act is a transaction by itself.
    conf = {
        **ADMIN, "USE_TZ": False, "TIME_ZONE": "Europe/Berlin",
        "DATABASE": {"ATOMIC_REQUESTS": False},
    }  # fmt: skip
    run(Project({**MEMORY, "DATABASE_URL": sqlite_url}, conf), *TESTS)


START = """
from celery import chain
from django.contrib.auth.models import User
User.objects.create_superuser("alice", password="secret")
chained = chain(judge.s("cup"), note.s()).apply_async()
print(chained.parent.id, chained.id)
"""


@contextmanager
def served(project: Project) -> Iterator[httpx.Client]:
    """The project by a web server with threads, which Celery knows no app in."""
    options = ("--bind=127.0.0.1:0", "--worker-class=gthread", "--threads=2", "--no-control-socket")
    env = {**project.environment, "DJANGO_SETTINGS_MODULE": f"{PROJECT}.settings"}
    app = "django.core.wsgi:get_wsgi_application()"
    with Process("gunicorn", *options, app, env=env, ready="Booting worker") as process:
        found = wait_for(
            lambda: re.search(r"Listening at: (http://\S+)", process.log()), what="the address"
        )
        assert found is not None
        with httpx.Client(base_url=found[1], timeout=30) as browser:
            yield browser


def hidden_in(page: httpx.Response) -> dict[str, Any]:
    """The hidden fields of a page's last form, as a browser would send them."""
    assert page.status_code == 200, page.text
    form = page.text.rpartition("<form ")[2]
    fields = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)
    return {name: html.unescape(value) for name, value in fields}


@pytest.mark.parametrize("database_url", ["postgresql"], indirect=True)
@pytest.mark.parametrize("project", [ADMIN], indirect=True)
def test_a_decision_on_a_site_has_a_worker_go_on(project: Project, observer: External) -> None:
    with Worker(PROJECT, env=project.environment):
        job, following = project.run(START).split()
        wait_for(lambda: observer.get_job(job).state == "PARKED", what="the job to be parked")
        with served(project) as browser:
            page = browser.get(JOBS)
            assert page.headers["location"].startswith("/admin/login/")
            form = hidden_in(browser.get("/admin/login/?next=" + JOBS))
            logged_in = browser.post(
                "/admin/login/",
                data={**form, "username": "alice", "password": "secret", "next": JOBS},
            )
            assert logged_in.headers["location"] == JOBS
            listed = browser.get(f"{JOBS}?state=PARKED")
            assert f"{JOBS}{job}/change/" in listed.text
            shown = browser.get(f"{JOBS}{job}/change/")
            link = re.search(r'href="([^"]+/act/approve/[^"]+)"', shown.text)
            assert link is not None
            form = hidden_in(browser.get(html.unescape(link[1])))
            answer = {"choice": "good", "note": "as ever", "celery-external-reason": "ripe"}
            target = link[1].partition("?")[0]

            forged = {key: form[key] for key in form if key != "csrfmiddlewaretoken"}
            assert browser.post(target, data={**forged, **answer}).status_code == 403
            assert observer.get_job(job).kind is None

            decided = browser.post(target, data={**form, **answer})
            assert decided.headers["location"] == f"{JOBS}{job}/change/"
            assert "1 job was approved." in browser.get(f"{JOBS}{job}/change/").text
        found = wait_for(
            lambda: found if (found := observer.get_job(job)).settled else None, what="the end"
        )
        assert found is not None
        assert (found.completed_by, found.result) == (
            "alice", {"choice": "good", "note": "as ever", "stars": 3},
        )  # fmt: skip
        ended = observer.app.AsyncResult(following)
        wait_for(ended.ready, what="the next step")
        assert ended.result == "good as ever"
