"""``list`` and ``show``: every filter and format, and nothing that a job says steers a terminal."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celery_external import OptionError
from celery_external.cli.filters import FILTERS
from celery_external.cli.show_job import describe
from tests.cli.shell import Shell
from tests.rows import Rows

#: What a job from outside may carry: colours, a cursor that goes up, a line of its own, markup.
HOSTILE = "\x1b[31mred\x1b[2A\r\nfake line [bold]\u202egnp.exe"
SHOWN = "\\x1b[31mred\\x1b[2A\\r\\nfake line [bold]\\u202egnp.exe"


def test_there_is_an_option_for_each_filter(rows: Rows) -> None:
    with pytest.raises(OptionError) as caught:
        rows.external.find_jobs(colour="red")
    assert str(caught.value) == f"colour: is no filter; there are {', '.join(sorted(FILTERS))}"


def test_a_page_and_how_to_go_on(rows: Rows, shell: Shell) -> None:
    old, new = rows.parked(labels=["a", "b"], shadow="ask nicely"), rows.parked(timeout=7230)
    owed, pending = rows.owed(), rows.pending()
    rows.move(old, parked_at=-8000)
    rows.move(owed, completed_at=-100, parked_at=-7000)
    rows.write(owed, attempt=3, sends=99)

    first = shell.run("list", "--limit", "2")

    assert first.code == 0
    titles, *lines = first.out.splitlines()
    assert titles.split() == ["ID", "TASK", "STATE", "LABELS", "FOR", "DEADLINE"]
    assert [re.split(r"\s{2,}", line)[:3] for line in lines] == [
        [new, "rows.ask", "PARKED"],
        [owed, "rows.ask", "SUCCESS (owed, stuck, attempt 3)"],
    ]
    assert re.search(r"  in (2h|1h \d+m)$", lines[0])
    assert re.search(r" \dm( \d+s)?$", lines[1])
    assert first.err.startswith("There are more: --after ")
    after = first.err.split()[-1]

    second = shell.run("list", "--limit", "2", "--after", after)
    assert second.code == 0
    assert second.err == ""
    (line,) = second.out.splitlines()[1:]
    *cells, age = re.split(r"\s{2,}", line)
    assert cells == [old, "ask nicely", "PARKED", "a, b"]
    assert re.fullmatch(r"2h 1\dm", age)

    # Without a time to be ordered by a job is not in the list.
    created = shell.run("list", "--order", "created", "--format", "ids")
    assert created == (0, f"{old}\n{new}\n{owed}\n{pending}\n", "")


def test_all_filters(rows: Rows, shell: Shell) -> None:
    """One job fits all; of each other job one thing is different."""
    made = rows.settled()
    moment = datetime.now(UTC) - timedelta(hours=5)
    fits: dict[str, Any] = {
        "attempt": 3, "labels": ["a", "b", "c"], "meta": {"order": {"id": 5}, "x": 1},
        "root_id": "root", "parent_id": "parent", "group_id": "group",
        "queue": "q", "completed_by": "alice", "created_at": moment, "parked_at": moment,
        "completed_at": moment, "deadline": moment,
    }  # fmt: skip
    rows.write(made, **fits)
    copies = rows.copy(made, 21)
    rows.write(made, reference="ref-1")
    others: list[dict[str, Any]] = [
        *({name: "another"} for name in ("task", "root_id", "parent_id", "group_id",
                                         "queue", "completed_by")), {},
        {"state": "FAILURE"}, {"kind": "failed"}, {"attempt": 2}, {"labels": ["a"]},
        {"meta": {"order": {"id": 6}}}, {"wake_at": moment},
        *({f"{name}_at": moment + timedelta(hours=hours)}
          for name in ("created", "parked", "completed") for hours in (-2, 2)),
        *({"deadline": moment + timedelta(hours=hours)} for hours in (-2, 2)),
    ]  # fmt: skip
    for copy, different in zip(copies, others, strict=True):
        # The one without a difference has no reference.
        rows.write(copy, **{"reference": None, **different})

    options = [
        *("--state", "success", "--task", "rows.ask", "--label", "a", "--label", "c"),
        *("--meta", '{"order": {"id": 5}}', "--root-id", "root", "--parent-id", "parent"),
        *("--group-id", "group", "--queue", "q", "--kind", "succeeded", "--completed-by", "alice"),
        *("--attempt", "3", "--settled", "--created-before", "4h", "--created-since", "6h"),
        *("--parked-before", "4h", "--parked-since", "6h", "--completed-since", "5h30m"),
        *("--completed-before", (moment + timedelta(hours=1)).isoformat()),
        *("--deadline-before", "4.5h", "--deadline-since", "6h"),
    ]
    said = shell.run("list", *options, "--reference", "ref-1", "--format", "json")

    assert (said.code, said.err) == (0, "")
    found = json.loads(said.out)
    assert found["next"] is None
    (job,) = found["jobs"]
    assert job["id"] == made
    assert job["labels"] == ["a", "b", "c"]
    assert job["meta"] == fits["meta"]
    assert datetime.fromisoformat(job["deadline"]) == moment
    assert (job["result"], job["settled"], job["argsrepr"]) == (1, True, "()")


def test_csv_has_everything_and_steers_nothing(rows: Rows, shell: Shell) -> None:
    job_id = rows.parked(labels=[HOSTILE[:20]], meta={"text": HOSTILE}, shadow=HOSTILE)
    rows.external.signal_failed(job_id, HOSTILE, by="alice")

    said = shell.run("list", "--format", "csv")
    (row,) = csv.DictReader(io.StringIO(said.out, newline=""))
    assert (row["id"], row["reason"], row["shadow"]) == (job_id, HOSTILE, HOSTILE)
    assert json.loads(row["meta"]) == {"text": HOSTILE}
    assert (row["result"], row["stuck"], row["attempt"]) == ("", "false", "1")
    assert datetime.fromisoformat(row["parked_at"]).tzinfo is not None

    for command in (["list"], ["show", job_id]):
        said = shell.run(*command)
        assert said.code == 0
        assert SHOWN in said.out
        assert said.out.replace("\n", "").isprintable()


def test_show_says_everything(rows: Rows, shell: Shell) -> None:
    job_id = rows.parked(
        timeout=7200, labels=["a", "b"], meta={"order": {"id": 5}}, shadow="ask nicely",
        args=("r1",), kwargs={"secret": "s3cr3t"}, kwargsrepr="{'secret': '***'}",
    )  # fmt: skip
    rows.write(job_id, reference="ref-1", root_id="root")
    rows.external.signal_progress(job_id, 3, 12, "rendering")
    rows.external.extend_job(job_id, timeout=9000, by="bob", reason="busy")

    code, out, err = shell.run("show", job_id)

    assert (code, err) == (0, "")
    assert out.startswith(f"Job {job_id}\n")
    shown = {" ".join(line.split()) for line in out.splitlines()}
    assert shown >= {
        "task rows.ask (ask nicely)",
        "state PARKED, attempt 1",
        "waits for a signal from outside for ref-1",
        "labels a, b",
        'meta order {"id": 5}',
        "arguments ('r1',) {'secret': '***'}",
        "reference ref-1",
        "root root",
        f"queue {rows.queue}",
    }
    assert re.search(r"\(in 2h [12]\dm\)", out)
    assert "progress" in out
    assert "3 of 12 (25%) rendering at 20" in out
    assert "attempt 1  extended by bob: busy" in out
    assert "s3cr3t" not in out

    rows.external.signal_succeeded(job_id, {"answer": 5}, by="alice", reason="fine")
    code, out, err = shell.run("show", job_id, "--format", "json")
    assert (code, err) == (0, "")
    shown_job = json.loads(out)
    assert (shown_job["result"], shown_job["completed_by"]) == ({"answer": 5}, "alice")
    assert shown_job["progress"]["message"] == "rendering"
    assert [(line["event"], line["by"], line["reason"]) for line in shown_job["history"]] == [
        ("extended", "bob", "busy"),
        ("succeeded", "alice", "fine"),
    ]
    assert "s3cr3t" not in out
    owed = "\n".join(describe(rows.external.get_job(job_id)))
    assert "waits for   a worker to tell Celery of the outcome" in owed
    assert "outcome     succeeded by alice" in owed
    history = owed.partition("History\n")[2].splitlines()
    assert [re.split(r"\s{2,}", line)[1:] for line in history] == [
        [f"{line[2:22]}", "attempt 1", said]
        for line, said in zip(
            history,
            ["created", "started", "parked", "extended by bob: busy", "succeeded by alice: fine"],
            strict=True,
        )
    ]


def test_show_of_no_job(rows: Rows, shell: Shell) -> None:
    code, out, err = shell.run("show", "nobody")
    assert (code, out) == (1, "")
    assert err == (
        f"Error: There is no job 'nobody' in namespace 'default' of {rows.external.database_name}."
        " Is external_database_url the one that the workers use?\n"
    )


WAITS_FOR = {
    "pending": "a worker to take it from the queue rows-",
    "started": "its trigger to end",
    "retry": "a worker to take it from the queue rows-",
    "parked": "a signal from outside",
    "owed": "a worker to tell Celery of the outcome",
    "settled": "nothing: it is over, and Celery has been told",
}


@pytest.mark.parametrize("state", WAITS_FOR)
def test_what_a_job_waits_for(rows: Rows, state: str) -> None:
    job = rows.external.get_job(getattr(rows, state)())
    assert f"  waits for  {WAITS_FOR[state]}" in "\n".join(describe(job))
