"""What a machine's words mean: the user's mapping, who said it, and tasks not known here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from celery_external import Failed, Progress, Succeeded
from tests.callers import APPLIED, Callers, end

IGNORED = (200, {"status": "ignored"})


def read_replicate(job: Any, body: Any) -> Any:
    """As a user writes one."""
    assert job.task == "rows.ask"
    match body["status"]:
        case "succeeded":
            return Succeeded(body["output"])
        case "failed":
            return Failed(body["error"])
        case "processing":
            return Progress(message=body["logs"])
        case "nonsense":
            return "Succeeded"
    return None


@pytest.mark.parametrize(
    ("body", "answer", "kind"),
    [
        ({"status": "starting"}, IGNORED, None),
        ({"status": "processing", "logs": "5%"}, APPLIED, None),
        ({"status": "succeeded", "output": "url"}, APPLIED, "succeeded"),
        ({"status": "failed", "error": "no"}, APPLIED, "failed"),
        ({"status": "succeeded"}, (500, {"error": "internal"}), None),
        ({"status": "nonsense"}, (500, {"error": "internal"}), None),
        (
            {"status": "failed", "error": "\x00"},
            (422, {"error": "invalid", "problem": "must not contain NUL characters"}),
            None,
        ),
    ],
)
def test_a_mapping_reads_the_body(
    make_callers: Callable[..., Callers],
    caplog: pytest.LogCaptureFixture,
    body: Any,
    answer: Any,
    kind: str | None,
) -> None:
    callers = make_callers(mapping=read_replicate)
    job_id = callers.rows.parked()
    assert callers.post(callers.token(job_id, "decide"), body) == answer
    found, _, _, by = end(callers, job_id)
    assert (found, by) == (kind, "callback" if kind else None)
    if answer[0] == 500:
        assert caplog.records[-1].getMessage().startswith(f"Job {job_id}: the mapping ")
        assert (caplog.records[-1].exc_info is not None) is ("nonsense" not in body.values())


# --- Who said it ----------------------------------------------------------------------------------


def test_a_decision_names_who_made_it(callers: Callers) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    for by in (None, "", " ", 5, "x" * 256, "\x00"):
        status, answer = callers.post(token, {"outcome": "succeeded", "by": by})
        assert (status, list(answer["fields"])) == (422, ["by"]), by
    assert callers.post(token, {"outcome": "succeeded"})[1]["fields"] == {"by": "is required"}
    assert callers.post(token, {"outcome": "succeeded", "by": " al "}) == APPLIED
    assert end(callers, job_id)[3] == "al"


@pytest.mark.parametrize("mark", ["\n", "\r", "\x1b", "\x85", "\u2028", "\u202e"])
def test_a_name_forges_no_line_of_the_log(callers: Callers, mark: str) -> None:
    job_id = callers.rows.parked()
    token = callers.token(job_id, "decide")
    said = {"outcome": "succeeded", "by": f"al{mark}Job 5: succeeded, said by eve"}
    status, answer = callers.post(token, said)
    assert (status, answer["fields"]) == (422, {"by": "must not contain control characters"})
    assert callers.post(token, {**said, "by": "山田\u3000太郎"}) == APPLIED
    assert end(callers, job_id)[3] == "山田\u3000太郎"


def test_who_is_logged_in_is_who_it_was(callers: Callers) -> None:
    job_id = callers.rows.parked()
    said = {"outcome": "succeeded", "by": "mallory"}
    assert callers.post(callers.token(job_id, "decide"), said, by="al") == APPLIED
    assert end(callers, job_id)[3] == "al"
    job_id = callers.rows.parked()
    assert callers.post(callers.token(job_id), said, by="al") == APPLIED
    assert end(callers, job_id)[3] == "al"


# --- A task that is not known here ----------------------------------------------------------------


def test_only_who_knows_the_task_can_have_it_decided(
    callers: Callers, caplog: pytest.LogCaptureFixture
) -> None:
    job_ids = [callers.rows.parked() for _ in range(3)]
    callers.rows.app.tasks.pop("rows.ask")
    token = callers.token(job_ids[0], "decide")
    said = {"outcome": "succeeded", "by": "al"}
    assert callers.post(token, said) == (500, {"error": "internal"})
    assert callers.get(token).status == 500
    assert callers.send(token, said).status in {403, 500}
    wanted = f"Job {job_ids[0]}: nobody can decide it here, because its task's choices and form"
    assert wanted in caplog.text
    assert "Import the module of rows.ask in this process" in caplog.text
    assert callers.rows.get(job_ids[0])["kind"] is None
    assert callers.post(callers.token(job_ids[1], "succeed"), 1) == APPLIED
    assert callers.post(callers.token(job_ids[2], "fail"), "no") == APPLIED
    assert callers.get(callers.token(job_ids[0], "view")).status == 200
