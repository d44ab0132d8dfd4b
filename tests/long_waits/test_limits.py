"""What cannot be held is said at the start, by name, and nothing is said where all is well."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from celery import Celery, chord, group

from celery_external import ExternalTask, get_external
from celery_external.limits import warn_of_backend
from tests.systems import System

Make = Callable[..., Celery]


def ask(*_args: Any) -> None:
    """A trigger that nobody runs."""


@pytest.fixture
def make(sqlite_url: str) -> Iterator[Make]:
    """Makes apps with an external task of a name that no other app has."""
    made: list[Celery] = []

    def make(result_url: str, *, options: dict[str, Any] | None = None, **conf: Any) -> Celery:
        app = Celery("limits", broker="memory://", backend=result_url, set_as_current=False)
        app.conf.update(external_database_url=sqlite_url, **conf)
        name = f"limits.ask-{uuid4()}"
        decorate: Any = app.task(base=ExternalTask, name=name, shared=False, **(options or {}))
        decorate(ask)
        app.main = name
        made.append(app)
        return app

    yield make
    for app in made:
        app.close()
        get_external(app)._installation.database.dispose()  # noqa: SLF001


@pytest.fixture(autouse=True)
def _catch_warnings(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING, "celery_external")


def said(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What celery-external warned of."""
    return [r.getMessage() for r in caplog.records if r.name == "celery_external"]


def test_a_worker_with_rpc_says_so(broker_url: str, sqlite_url: str, tmp_path: Path) -> None:
    system = System(
        broker_url=broker_url, result_url="rpc://", database_url=sqlite_url, scratch=tmp_path
    )
    with closing(system), system.worker() as worker:
        (line,) = [
            line for line in worker.log().splitlines() if "rpc://" in line and "WARN" in line
        ]
    assert "tests.apps.core.ask_with_hook" in line
    assert "tests.apps.core.echo" not in line


def test_a_backend_that_forgets_and_is_not_known(
    make: Make, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(f"file://{tmp_path}")
    warn_of_backend(app)
    (line,) = said(caplog)
    assert "FilesystemBackend forgets after 86400 s (result_expires)" in line
    assert str(app.main) in line


@pytest.mark.parametrize(
    ("result_url", "conf"),
    [
        ("redis://127.0.0.1:1/0", {}),
        ("db+sqlite://", {}),
        ("file:///tmp", {"result_expires": None}),
        ("disabled://", {}),
    ],
)
def test_nothing_is_said_where_all_is_held(
    make: Make, result_url: str, conf: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    warn_of_backend(make(result_url, **conf))
    assert said(caplog) == []


def test_the_first_group_without_a_chord(
    make: Make, result_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    app = make(result_url)
    task: Any = app.tasks[str(app.main)]
    task.delay()
    chord([task.s(), task.s()], task.s()).apply_async()
    assert said(caplog) == []
    for _ in range(2):
        group(task.s(), task.s()).apply_async()
    (line,) = said(caplog)
    assert str(app.main) in line
    assert "unless the group is saved" in line


@pytest.mark.parametrize(
    ("conf", "of_task", "of_call", "is_said"),
    [
        ({}, {"timeout": 3600}, {}, False),
        ({}, {}, {"timeout": 3600}, False),
        ({}, {"timeout": 3600}, {"timeout": 90_000}, True),
        ({"result_expires": 60}, {"timeout": 3600}, {}, True),
        ({"result_expires": None}, {}, {}, False),
        ({}, {"ignore_result": True}, {}, False),
        ({}, {}, {"ignore_result": True}, False),
    ],
)
def test_a_group_whose_members_cannot_outlast_the_expiry(
    make: Make,
    result_url: str,
    conf: dict[str, Any],
    of_task: dict[str, Any],
    of_call: dict[str, Any],
    *,
    is_said: bool,
    caplog: pytest.LogCaptureFixture,
) -> None:
    app = make(result_url, options=of_task, **conf)
    task: Any = app.tasks[str(app.main)]
    group(task.s().set(**of_call), task.s().set(**of_call)).apply_async()
    assert bool(said(caplog)) is is_said
