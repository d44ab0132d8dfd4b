"""Every kind of task that Celery's users define parks and goes on, whoever signals."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pytest
from celery import Celery, chain
from pydantic import BaseModel

from celery_external import External, Job, JobNotFoundError, get_external
from tests.processes import Worker
from tests.servers import Postgres, Valkey
from tests.waiting import wait_for


class Answer(BaseModel):
    """What a caller may signal."""

    words: str


@pytest.fixture(scope="module")
def app(valkey: Valkey, postgres: Postgres, postgres_template: str) -> Iterator[Celery]:
    """An app that knows no task's code, and a worker of ``tests.apps.kinds``."""
    env = {
        "BROKER_URL": valkey.fresh_database(),
        "RESULT_URL": valkey.fresh_database(),
        "DATABASE_URL": postgres.create_database(postgres_template),
        # This app accepts pickle from its own tests only.
        "C_FORCE_ROOT": "1",
    }
    made = Celery(broker=env["BROKER_URL"], backend=env["RESULT_URL"], set_as_current=False)
    made.conf.external_database_url = env["DATABASE_URL"]
    made.conf.accept_content = ["json", "pickle"]
    with closing(made), Worker("tests.apps.kinds", env=env):
        yield made


def wait_parked(external: External, job_id: str) -> Job:
    """Wait for a job that is a row only from its trigger on."""

    def look() -> Job | None:
        try:
            job = external.get_job(job_id)
        except JobNotFoundError:
            return None
        return job if job.state == "PARKED" else None

    found = wait_for(look, what=f"job {job_id} to park")
    assert found is not None
    return found


@pytest.mark.parametrize(
    ("name", "value", "serializer"),
    [
        ("kinds.by_task_cls", 1, "json"),
        ("kinds.shared", {"a": 1}, "json"),
        ("kinds.pickled", {1, 2}, "pickle"),
        ("kinds.pydantic", {"amount": 3}, "json"),
    ],
)
def test_it_parks_and_the_chain_goes_on(
    app: Celery, name: str, value: Any, serializer: str
) -> None:
    external = get_external(app)
    step = app.signature(name, (value,), serializer=serializer)
    result = chain(step, app.signature("kinds.next"), app=app).apply_async()
    parent: Any = result.parent
    job = wait_parked(external, parent.id)
    assert job.args is not None
    assert list(job.args) == [value]
    external.signal_succeeded(job, "went on")
    assert result.get(timeout=20) == "went on"


def test_a_pydantic_model_is_signalled_as_its_json(app: Celery) -> None:
    external = get_external(app)
    result = chain(
        app.signature("kinds.pydantic", ({"amount": 3},)), app.signature("kinds.next"), app=app
    ).apply_async()
    parent: Any = result.parent
    job = wait_parked(external, parent.id)
    assert job.meta == {"amount": 3}
    external.signal_succeeded(job, Answer(words="yes"))
    assert result.get(timeout=20) == {"words": "yes"}


def test_trigger_arguments_that_pydantic_refuses_fail_the_job(app: Celery) -> None:
    result = app.send_task("kinds.pydantic", ({"amount": "much"},))
    with pytest.raises(Exception, match="ValidationError"):
        result.get(timeout=20)


def test_options_by_name_travel_in_the_header(app: Celery) -> None:
    external = get_external(app)
    options: Any = {"labels": ["l1"], "timeout": 3600}
    sent = app.signature("kinds.shared", (1,)).set(**options).apply_async()
    job = wait_parked(external, sent.id)
    assert job.labels == ("l1",)
    assert job.deadline is not None
