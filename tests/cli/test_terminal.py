"""With a terminal: somebody is asked, tables and bars are drawn; without one: text."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cli.shell import Shell, Terminal
from tests.processes import REPOSITORY
from tests.rows import Rows
from tests.waiting import wait_for

COLOUR = "\x1b[3"


@pytest.fixture
def rows(sqlite_url: str) -> Iterator[Rows]:
    """Rows on SQLite: nothing here has to do with the database."""
    with closing(Rows(sqlite_url)) as made:
        yield made


@pytest.fixture
def without_rich(tmp_path: Path) -> dict[str, str]:
    """An environment in which rich cannot be imported."""
    (tmp_path / "rich.py").write_text("raise ImportError('rich is not here')\n")
    return {"PYTHONPATH": str(tmp_path)}


def test_a_question_is_answered_before_anything_is_done(rows: Rows, on_sqlite: Shell) -> None:
    first = rows.parked(labels=["a"])
    kept, moved_on = rows.copy(first, 2)
    with Terminal(on_sqlite, "fail", "--label", "a", "--reason", "no") as asked:
        asked.read_until("Fail 3 jobs (rows.ask: 3)? [y/N]: ")
        asked.type("n\n")
        assert asked.read_all().endswith("Aborted!\n")
    assert asked.process.returncode == 1
    assert rows.count(state="PARKED") == 3

    with Terminal(on_sqlite, "fail", "--label", "a", "--reason", "no") as asked:
        asked.read_until("[y/N]: ")
        # The one that was looked at was another attempt.
        rows.external.rerun_job(moved_on)
        rows.parked(labels=["a"])
        asked.type("y\n")
        shown = asked.read_all()
    assert asked.process.returncode == 1
    assert "2 jobs failed, 1 refused\n" in shown
    assert f"Error: Job {moved_on}: attempt 1 was named, but attempt 2 is the open" in shown
    assert [rows.get(one)["state"] for one in (kept, first, moved_on)] == [
        "FAILURE", "FAILURE", "PENDING",
    ]  # fmt: skip
    assert rows.count(state="PARKED") == 1


def test_a_bar_and_a_table_are_drawn(rows: Rows, on_sqlite: Shell) -> None:
    job_id = rows.parked(labels=["[bold]a"], shadow="long " * 30)
    job_ids = rows.copy(job_id, 1500)
    listed = on_sqlite.run("list", "--limit", "1")
    assert "…" not in listed.out

    with Terminal(on_sqlite, "list", "--limit", "1") as looked:
        shown = looked.read_all()
    assert "─" in shown
    assert "…" in shown  # the name is shortened, the id is not
    assert any(one in shown for one in (job_id, *job_ids))
    assert "[bold]a" in shown

    with Terminal(on_sqlite, "succeed", "--label", "[bold]a", "--yes") as decided:
        shown = decided.read_all()
    assert "1501/1501" in shown
    assert COLOUR in decided.raw
    assert shown.rstrip().endswith("1,501 jobs succeeded")


def test_no_colour_where_none_is_wanted(rows: Rows, on_sqlite: Shell) -> None:
    rows.copy(rows.parked(), 30)
    with Terminal(on_sqlite, "extend", "--task", "rows.ask", "--timeout", "1h", "-y",
                  NO_COLOR="1") as decided:  # fmt: skip
        shown = decided.read_all()
    assert "31/31" in shown
    assert COLOUR not in decided.raw


def test_without_rich(rows: Rows, on_sqlite: Shell, without_rich: dict[str, str]) -> None:
    job_id = rows.parked(shadow="long " * 30)
    rows.copy(job_id, 1500)
    with Terminal(on_sqlite, "list", "--limit", "1", **without_rich) as looked:
        shown = looked.read_all()
    assert looked.process.returncode == 0
    assert "─" not in shown
    assert "long " * 30 in shown

    with Terminal(on_sqlite, "succeed", "--task", "rows.ask", "-y", **without_rich) as decided:
        shown = decided.read_all()
    assert shown == "Succeeded: 1,000 of 1,501\n1,501 jobs succeeded\n"


def test_watch(rows: Rows, on_sqlite: Shell) -> None:
    first = rows.parked()
    with Terminal(on_sqlite, "list", "--watch", "--interval", "0.1s") as watched:
        watched.read_until(first)
        second = rows.parked()
        watched.read_until(second)
        watched.process.send_signal(signal.SIGINT)
        shown = watched.read_all()
    assert watched.process.returncode == 0, shown
    assert "Ctrl-C ends" in shown
    assert "Traceback" not in shown


def test_watch_without_a_terminal(rows: Rows, on_sqlite: Shell, tmp_path: Path) -> None:
    first = rows.parked()
    out = tmp_path / "out"
    command = on_sqlite.command(["list", "--watch", "--interval", "0.1s"])
    with out.open("w") as file, subprocess.Popen(
        command, cwd=REPOSITORY, env=on_sqlite.environment({}), stdout=file, stderr=file
    ) as process:  # fmt: skip
        wait_for(lambda: out.read_text().count(first) > 1, what="two tables")
        process.send_signal(signal.SIGINT)
        process.wait(20)
    assert process.returncode == 0
    assert "Traceback" not in out.read_text()


def test_a_reader_that_goes_away(rows: Rows, on_sqlite: Shell) -> None:
    rows.copy(rows.parked(meta={"text": "long " * 100}), 2000)
    with subprocess.Popen(
        on_sqlite.command(["export"]), cwd=REPOSITORY, env=on_sqlite.environment({}),
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stderr is not None
        assert process.stdout.readline().startswith('{"namespace": "default"')
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait(30) == 1


def test_the_broker_is_away(rows: Rows, sqlite_url: str) -> None:
    job_ids = rows.copy(rows.parked(), 40)
    shell = Shell(sqlite_url, BROKER_URL="redis://127.0.0.1:1/0")

    said = shell.run("cancel", "-", typed="\n".join(job_ids))

    assert (said.code, said.out) == (0, "40 jobs cancelled\n")
    (warning,) = said.err.splitlines()
    assert warning.startswith("Warning: The broker is away; the sweep will send job ")
    assert "Connection refused" in warning
    assert len(warning) < 500
    assert rows.count(state="REVOKED") == 40
