"""``succeed``, ``fail``, ``cancel``, ``rerun`` and ``extend``: which jobs, what becomes of them."""

from __future__ import annotations

import getpass
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import Celery
from celery.bin.base import CLIContext
from click.testing import CliRunner

from celery_external.cli import external
from tests.cli.shell import Shell
from tests.rows import In, Rows

ME = getpass.getuser()


def lines_of(rows: Rows, job_id: str) -> list[tuple[Any, ...]]:
    """What the history says of a job."""
    return [(line["event"], line["by"], line["reason"]) for line in rows.history(job_id)]


# --- Which jobs -----------------------------------------------------------------------------------


def test_ids(rows: Rows, shell: Shell) -> None:
    parked, pending, failed, done = rows.parked(), rows.pending(), rows.parked(), rows.parked()
    rows.external.signal_failed(failed, "no")
    rows.external.signal_succeeded(done, {"a": [1, "ü"]})

    said = shell.run(
        "succeed", parked, pending, failed, parked, done, "nobody",
        "--result", '{"a": [1, "ü"]}', "--reason", "looks fine",
    )  # fmt: skip

    assert (said.code, said.out) == (1, "2 jobs succeeded, 1 had before, 2 refused\n")
    refused, unknown = said.err.splitlines()
    assert refused.startswith(f"Error: Job {failed} cannot be completed: it was already failed")
    assert unknown.startswith("Error: There is no job 'nobody' in namespace 'default' of ")
    for job_id in (parked, pending):
        assert lines_of(rows, job_id) == [("succeeded", ME, "looks fine")]
        assert rows.external.get_job(job_id).result == {"a": [1, "ü"]}


def test_ids_from_stdin(rows: Rows, shell: Shell) -> None:
    job_ids = rows.copy(rows.parked(), 5)

    said = shell.run(
        "fail",
        "-",
        "--reason",
        "no GPU",
        "--by",
        "bob",
        typed="\n".join([*job_ids, "", job_ids[0]]),
    )

    assert said == (0, "5 jobs failed\n", "")
    for job_id in job_ids:
        assert lines_of(rows, job_id) == [("failed", "bob", "no GPU")]
    assert rows.count(state="PARKED") == 1


def test_filters_are_confirmed(rows: Rows, shell: Shell) -> None:
    job_ids = rows.copy(rows.parked(labels=["a"]), 2)
    early = rows.pending(labels=["a"])
    other = rows.parked(labels=["b"])

    refused = shell.run("cancel", "--label", "a")
    assert (refused.code, refused.out) == (2, "")
    assert "Error: Cancel 3 jobs (rows.ask: 3)? Without a terminal say --yes\n" in refused.err
    assert rows.count(state="PARKED") == 4

    said = shell.run("cancel", "--label", "a", "--yes", "--reason", "too late")
    assert said == (0, "3 jobs cancelled\n", "")
    assert [lines_of(rows, job_id) for job_id in job_ids] == [[("cancelled", ME, "too late")]] * 2
    # Without --state they are about parked jobs.
    assert [rows.get(job_id)["state"] for job_id in (early, other)] == ["PENDING", "PARKED"]

    none = shell.run("cancel", "--label", "a", "--yes")
    assert none == (0, "", "There is no such job\n")


def test_an_attempt_that_is_over(rows: Rows, shell: Shell) -> None:
    job_id = rows.retry()
    rows.take(job_id)

    parked = rows.parked()
    said = shell.run("rerun", parked, "--attempt", "2")
    assert (said.code, rows.get(parked)["attempt"]) == (1, 1)
    assert "attempt 2 was named, but attempt 1 is the open one" in said.err

    for command in (["fail", "--reason", "no"], ["extend", "--timeout", "1h"]):
        said = shell.run(*command, job_id, "--attempt", "1")
        assert said == (
            1,
            f"0 jobs {command[0]}ed, 1 refused\n",
            f"Error: Job {job_id}: attempt 1 was named, but attempt 2 is the open one\n",
        )
    assert (rows.get(job_id)["state"], rows.get(job_id)["deadline"]) == ("STARTED", None)
    assert shell.run("cancel", job_id, "--attempt", "2") == (0, "1 job cancelled\n", "")


# --- What is done ---------------------------------------------------------------------------------


def test_rerun(rows: Rows, shell: Shell) -> None:
    failed, settled = rows.parked(), rows.settled()
    rows.external.signal_failed(failed, "no")

    said = shell.run("rerun", failed, settled, "--reason", "once more")
    assert (said.code, said.out) == (1, "1 job started again, 1 refused\n")
    assert said.err == (
        f"Error: Job {settled} cannot be run again: it is SUCCESS, not PARKED, FAILURE or REVOKED\n"
    )
    row = rows.get(failed)
    assert (row["state"], row["attempt"]) == ("PENDING", 2)
    assert lines_of(rows, failed)[-1][1:] == (ME, "once more")


def test_extend(rows: Rows, shell: Shell) -> None:
    job_id, settled = rows.parked(), rows.settled()

    said = shell.run("extend", job_id, settled, "--timeout", "1d12h", "--reason", "busy")
    assert (said.code, said.out) == (1, "1 job extended, 1 refused\n")
    assert rows.get(job_id)["deadline"] == In(129600)
    assert lines_of(rows, job_id) == [("extended", ME, "busy")]

    deadline = (datetime.now(UTC) + timedelta(days=9)).replace(microsecond=0)
    said = shell.run("extend", "--task", "rows.ask", "-y", "--deadline", deadline.isoformat())
    assert said == (0, "1 job extended\n", "")
    assert rows.get(job_id)["deadline"] == deadline


def test_thousands(rows: Rows, shell: Shell) -> None:
    """Pages of 1000; what is done changes which jobs fit, and none is passed over."""
    first = rows.parked(labels=["many"])
    job_ids = [first, *rows.copy(first, 1_499)]

    said = shell.run("succeed", "--label", "many", "--state", "PARKED", "--yes", "--result", "[1]")
    assert said == (0, "1,500 jobs succeeded\n", "")
    assert rows.count(state="SUCCESS", completed_by=ME) == 1_500

    # One that was started after the export began, which is not to follow its own tail.
    rows.move(job_ids.pop(), created_at=3600)
    exported = shell.run("export", "--label", "many", "--state", "SUCCESS")
    assert (exported.code, exported.err) == (0, "")
    found = [json.loads(line) for line in exported.out.splitlines()]
    assert sorted(job["id"] for job in found) == sorted(job_ids)
    assert {(job["result"][0], *(line["event"] for line in job["history"])) for job in found} == {
        (1, "succeeded")
    }


# --- What cannot be understood --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["succeed"], "Which jobs? Give ids, - to read ids from stdin, or filters"),
        (["succeed", "id", "--task", "rows.ask"], "Give either ids or filters, not both"),
        (["fail", "id"], "Missing option '--reason'."),
        (["extend", "id"], "Give either --timeout or --deadline"),
        (["extend", "id", "--timeout", "1h", "--deadline", "2030-01-01T00:00:00Z"], "Give either"),
        (["extend", "id", "--timeout", "soon"], "'soon' is no duration; write 90s, 15m, 2h"),
        (["extend", "id", "--timeout", "99999999999d"], "is no duration"),
        (["extend", "id", "--deadline", "2h"], "'2h' is no time; write 2026-01-31T12:00:00Z"),
        (
            ["extend", "id", "--deadline", "2030-01-01"],
            "'2030-01-01' has no time zone; write 2030-01-01T00:00:00Z or",
        ),
        (["succeed", "id", "--result", "yes"], "'yes' is not JSON: "),
        (["succeed", "id", "--result", "NaN"], "NaN is not JSON"),
        (["succeed", "--meta", "[1]"], "'[1]' is not an object"),
        (["succeed", "--state", "LOST"], "'LOST' is not one of"),
        (["list", "--after", "there"], "Error: after: is no page's next: 'there'"),
        (["list", "--watch", "--format", "csv"], "--watch draws tables: leave --format out"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_a_usage_that_is_none(arguments: list[str], problem: str) -> None:
    # No database is asked: this app has none.
    app = Celery("usage", broker="memory://", set_as_current=False)
    context = CLIContext(app=app, no_color=True, workdir=None)
    said = CliRunner().invoke(external, arguments, obj=context)
    assert said.exit_code == 2
    assert problem in " ".join(said.stderr.split())
