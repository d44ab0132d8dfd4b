"""A project with servers of its own, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from celery import Celery

from celery_external import External, get_external
from tests.django.runs import Project


@pytest.fixture
def project(
    request: pytest.FixtureRequest, broker_url: str, result_url: str, database_url: str
) -> Project:
    """The project, its tables made; its worker sweeps. A parameter is more of its settings."""
    env = {"BROKER_URL": broker_url, "RESULT_URL": result_url, "DATABASE_URL": database_url}
    more: dict[str, Any] = getattr(request, "param", {})
    made = Project(env, {"CELERY_EXTERNAL_SWEEP_IN_WORKER": True, **more})
    made.manage("migrate", "--run-syncdb")
    return made


@pytest.fixture
def observer(project: Project) -> External:
    """The same jobs seen from outside Django, by a connection of the test's own."""
    app = Celery("observer", broker=project.env["BROKER_URL"], set_as_current=False)
    conf: dict[str, Any] = {
        "external_database_url": project.env["DATABASE_URL"],
        "result_backend": project.env["RESULT_URL"],
    }
    app.conf.update(conf)
    return get_external(app)
