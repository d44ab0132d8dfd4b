"""Structured logs: every line about a job has the job's id and task as fields."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

import celery_external
from celery_external import JobAlreadyCompletedError, StaleAttemptError
from celery_external.logs import name_job, name_jobs
from tests.monitoring.conftest import CONF
from tests.monitoring.json_lines import JsonFormatter
from tests.rows import Rows
from tests.systems import System
from tests.waiting import wait_for

LONG_AGO = "2020-01-01 00:00:00.000000"
GIVE_UP = "UPDATE celery_external_job SET sends = 3, wake_at = :then WHERE id = :id"
#: Whoever logs.
LOGGER = "celery_external"


# --- In the source --------------------------------------------------------------------------------

#: A variable, attribute or key by which a line of the log would name a job.
NAMES_OF_A_JOB = {"job_id", "_task_id", "task_id", "id"}


def calls_of_loggers(source: str) -> Iterator[ast.Call]:
    for node in ast.walk(ast.parse(source)):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id in {"logger", "log"}
            and node.func.attr in {"debug", "info", "warning", "error", "exception", "critical"}
        ):
            yield node


def names_a_job(call: ast.Call) -> bool:
    for argument in call.args:
        for node in ast.walk(argument):
            if isinstance(node, ast.Constant) and node.value in NAMES_OF_A_JOB:
                return True
            if isinstance(node, ast.Constant) and "job %s" in str(node.value).lower():
                return True
            if isinstance(node, ast.Attribute) and node.attr in NAMES_OF_A_JOB:
                return True
            if isinstance(node, ast.Name) and node.id in NAMES_OF_A_JOB:
                return True
    return False


def unnamed(source: str) -> list[int]:
    """The lines with a job in their words, and not beside them."""
    return [
        call.lineno
        for call in calls_of_loggers(source)
        if names_a_job(call) and "extra" not in {keyword.arg for keyword in call.keywords}
    ]


def test_every_line_that_names_a_job_has_its_fields() -> None:
    package = Path(celery_external.__file__).parent
    found = {
        f"{path.relative_to(package)}:{line}"
        for path in package.rglob("*.py")
        for line in unnamed(path.read_text())
    }
    # The kit's word on an ordinary task.
    assert {one.partition(":")[0] for one in found} <= {"testing/draining.py"}, found


@pytest.mark.parametrize(
    "line",
    ['"Job %s is gone", job', '"%s is gone", row["id"]', '"gone: %s", self.job_id', '"%s", job_id'],
)
def test_a_line_without_is_found(line: str) -> None:
    assert unnamed(f"logger.warning({line})") == [1]
    assert unnamed(f"logger.warning({line}, extra=name_job(row))") == []
    assert unnamed("logger.warning('The broker is away', exc_info=True)") == []


# --- The fields -----------------------------------------------------------------------------------


def test_a_job_is_named_by_its_row_or_itself_or_its_id(rows: Rows) -> None:
    job_id = rows.parked()
    named = {"job_id": job_id, "task": "rows.ask"}
    assert name_job(rows.get(job_id)) == name_job(rows.external.get_job(job_id)) == named
    assert name_job(job_id, "rows.ask") == named
    assert name_job(job_id) == {"job_id": job_id, "task": None}
    assert name_jobs(iter([job_id])) == {"job_ids": [job_id]}


def test_they_are_no_names_that_logging_has() -> None:
    taken = {*vars(logging.makeLogRecord({})), "message", "asctime", "taskName"}
    assert {*name_job(""), *name_jobs([])}.isdisjoint(taken)


# --- A whole life ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def logged(make_shared_system: Callable[..., System]) -> Iterator[System]:
    """A worker that logs in JSON, and sweeps."""
    system = make_shared_system("PostgreSQL", conf=CONF, tasks="tests.apps.logged")
    worker = system.worker(log_level="INFO")
    worker.env["LOGS"] = "yes"
    worker.ready = f"{worker.hostname} ready."
    with closing(system), worker:
        yield system


def lines_of(system: System, here: list[logging.LogRecord]) -> list[dict[str, Any]]:
    """Our lines, of the worker and of this process."""
    formatter = JsonFormatter()
    written = [*system.lines("log"), *map(formatter.format, here)]
    return [line for line in map(json.loads, written) if line["logger"] == LOGGER]


def test_each_line_of_a_life_has_its_job(logged: System, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, LOGGER)
    asked = logged.task("ask").delay("r-1")
    jobs = {asked.id: "logged.ask"}
    logged.wait_parked(asked.id)
    with pytest.raises(StaleAttemptError):
        logged.external.signal_succeeded(asked, attempt=7)
    logged.external.signal_succeeded(asked, "yes", by="alice")
    logged.wait_settled(asked.id)
    with pytest.raises(JobAlreadyCompletedError):
        logged.external.signal_failed(asked, "no")
    asked.revoke()
    for name in ("hurry", "die"):
        result = logged.task(name).delay()
        jobs[result.id] = f"logged.{name}"
        logged.wait_settled(result.id)
    mumbled = logged.task("mumble").delay()
    jobs[mumbled.id] = "logged.mumble"
    logged.wait_parked(mumbled.id)
    unread = logged.task("ask").apply_async(queue="unread")
    jobs[unread.id] = "logged.ask"
    logged.execute(GIVE_UP, then=LONG_AGO, id=unread.id)

    def find(words: str) -> list[dict[str, Any]]:
        return [line for line in lines_of(logged, caplog.records) if words in line["message"]]

    wait_for(lambda: find("is stuck"), what="the sweep to give up")
    for job_id, words in (
        (asked.id, "] parked"),
        (asked.id, "succeeded by alice"),
        (asked.id, "Refused: "),
        (unread.id, "is stuck: no worker takes it"),
        (mumbled.id, "parks without its trigger's return value"),
    ):
        assert {line["job_id"] for line in find(words)} >= {job_id}, words
    for words in (
        "timed_out: The deadline has passed",
        "on_timeout of job",
        "The process that ran",
    ):
        assert find(words), words

    for line in lines_of(logged, caplog.records):
        for job_id, task in jobs.items():
            if job_id in line["message"]:
                assert (line["job_id"], line["task"]) == (job_id, task), line
