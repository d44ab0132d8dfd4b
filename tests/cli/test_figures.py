"""``stats``, ``doctor`` and ``purge``: what there is, what is wrong, what may go."""

from __future__ import annotations

import json
import re

from tests.cli.shell import Shell
from tests.rows import Rows


def test_stats(rows: Rows, shell: Shell) -> None:
    oldest = rows.parked(labels=["a", "b"], timeout=100)
    rows.parked(labels=["a"])
    rows.pending()
    rows.owed()
    rows.move(oldest, parked_at=-7400, wake_at=-5)

    said = shell.run("stats")
    assert (said.code, said.err) == (0, "")
    head, tasks, labels = said.out.split("\n\n")
    assert re.sub(r" \dm", " ?m", head).splitlines()[1:] == [
        "Parked   2, the oldest for 2h ?m",
        "Open     1 PENDING, 0 STARTED, 2 PARKED, 0 RETRY",
        "Overdue  1",
        "Owed     1",
        "Stuck    0",
    ]
    assert [line.split()[:4] for line in tasks.splitlines()] == [
        ["TASK", "PARKED", "OLDEST"],
        ["rows.ask", "2", "2h", tasks.split()[-1]],
    ]
    assert [line.split() for line in labels.splitlines()] == [
        ["LABEL", "PARKED"],
        ["a", "2"],
        ["b", "1"],
    ]

    said = shell.run("stats", "--format", "json")
    found = json.loads(said.out)
    assert found["parked"] == {"number": 2, "exact": True}
    assert found["overdue"] == {"number": 1, "exact": True}
    assert found["tasks"][0]["task"] == "rows.ask"
    assert found["labels"] == [
        ["a", {"number": 2, "exact": True}],
        ["b", {"number": 1, "exact": True}],
    ]


def test_doctor(rows: Rows, shell: Shell) -> None:
    well = shell.run("doctor", "--format", "json")
    assert (well.code, well.err) == (0, "")
    findings = json.loads(well.out)
    assert {one["name"] for one in findings} > {"database", "schema", "sweep", "owed", "secrets"}
    assert {one["level"] for one in findings} <= {"ok", "warning"}

    job_id = rows.parked(timeout=100)
    rows.move(job_id, wake_at=-3600)
    said = shell.run("doctor")
    assert (said.code, said.err) == (1, "")
    (error,) = re.findall(r"^error    (.*)\n +-> (.*)\n +Jobs: (.*)$", said.out, re.MULTILINE)
    text, remedy, jobs = error
    assert re.match(r"sweep +1 job ", text)
    assert "celery beat" in remedy
    assert jobs == job_id
    # What is well needs no remedy.
    assert re.search(r"^ok       secrets ", said.out, re.MULTILINE)
    assert not re.search(r"^ok .*\n +-> ", said.out, re.MULTILINE)


def test_purge(rows: Rows, shell: Shell) -> None:
    old = rows.copy(rows.settled(), 1200)
    rows.move_all(completed_at=-40 * 86400)
    failed, young, owed = rows.cancelled(), rows.settled(), rows.owed()
    rows.move(failed, completed_at=-40 * 86400)
    rows.move(young, completed_at=-20 * 86400)
    rows.move(owed, completed_at=-40 * 86400)

    asked = shell.run("purge")
    assert asked.code == 2
    assert (
        "Purge up to 1,202 settled jobs, older than 30d? Without a terminal say --yes" in asked.err
    )
    dry = shell.run("purge", "--dry-run", "--older-than", "2w", "--state", "success")
    assert dry == (0, "Would purge up to 1,202 settled jobs, older than 14d\n", "")
    assert "longer than a hundred years" in shell.run("purge", "--older-than", "800000d").err
    assert rows.count() == 1204

    purged = shell.run("purge", "--yes", "--state", "REVOKED", "--keep-history")
    assert purged == (0, "1 job purged\n", "")
    assert rows.find(failed) is None
    assert rows.events(failed) == ["cancelled"]

    purged = shell.run("purge", "-y", "--task", "rows.ask")
    assert purged == (0, "1,201 jobs purged\n", "")
    assert rows.find(old[0]) is None
    assert {rows.get(one)["id"] for one in (young, owed)} == {young, owed}
    assert rows.count() == 2
