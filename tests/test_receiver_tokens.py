"""Tokens at the receiver: what does not allow it is refused alike, and a link changes nothing."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest

from celery_external import Failed, Succeeded, signals
from celery_external.webhooks import Receiver, Request
from tests.callers import ACTIONS, APPLIED, JSON, OLD_KEY, SAFE, STRANGE_KEY, Callers
from tests.rows import Rows

REFUSED = (403, {"error": "refused"})


def bad_tokens(callers: Callers, job_id: str) -> dict[str, tuple[str, bool]]:
    """Tokens that do not allow it, and whether one of our keys has signed them."""
    good = callers.token(job_id)
    other = callers.token(job_id, attempt=2)
    return {
        "truncated": (good[:-1], False),
        "tampered": (f"{other.partition('.')[0]}.{good.partition('.')[2]}", False),
        "empty": ("", False),
        "long": (good + "x" * 3000, False),
        "strange": ("é\ud800\x00/../", False),
        "rotated out": (callers.token(job_id, key=STRANGE_KEY), False),
        "foreign": (callers.token(job_id, namespace="other"), True),
        "expired": (callers.token(job_id, expires_at=int(time.time()) - 1), True),
        "to look": (callers.token(job_id, "view"), True),
    }


def test_bad_tokens_are_refused_alike(callers: Callers, caplog: pytest.LogCaptureFixture) -> None:
    job_id = callers.rows.parked()
    before = callers.rows.get(job_id)
    told: list[tuple[str, str]] = []

    def keep(job: Any, error: Exception, **_: Any) -> None:
        told.append((job.id, type(error).__name__))

    signals.signal_refused.connect(keep, sender=callers.rows.app)
    found = bad_tokens(callers, job_id)
    for name, (token, _) in found.items():
        response = callers.call(token, body=b"1")
        assert (response.status, response.body) == (403, b'{"error": "refused"}'), name
        assert response.headers == {"Content-Type": "application/json", **SAFE}, name
        assert not token or token not in caplog.text, name
    assert callers.rows.get(job_id) == before
    assert callers.receiver.forged == sum(not is_signed for _, is_signed in found.values()) == 6
    # What was signed is in the history, unless the job is another namespace's.
    lines = [(line["event"], line["details"]["error"]) for line in callers.rows.history(job_id)]
    assert lines == [
        ("refused", "Token: it has expired"),
        ("refused", "Token: it is to view, not to succeed or fail or decide"),
    ]
    assert told == [(job_id, "TokenRefusedError")] * 2
    assert "a token that none of external_secret_keys has signed" in caplog.text
    assert f"a token for job {job_id}, attempt 1: it is for namespace 'other'" in caplog.text


@pytest.mark.parametrize("action", ["succeed", "fail"])
def test_a_token_allows_one_outcome_and_progress(
    make_callers: Callable[..., Callers], action: Any
) -> None:
    said = {"succeed": Failed("no"), "fail": Succeeded(1)}[action]
    callers = make_callers(mapping=lambda _job, body: body and said)
    job_id = callers.rows.parked()
    assert callers.post(callers.token(job_id, action), 1, by="al") == REFUSED
    line = callers.rows.history(job_id)[-1]
    assert (line["event"], line["by"]) == ("refused", "al")
    other = "fail" if action == "succeed" else "succeed"
    assert line["details"]["error"] == f"Token: it is to {action}, not to {other}"
    assert callers.rows.get(job_id)["kind"] is None


def test_a_rotated_key_still_verifies(callers: Callers) -> None:
    job_id = callers.rows.parked()
    assert callers.post(callers.token(job_id, key=OLD_KEY), 1) == APPLIED


def test_tokens_as_the_package_gives_them_are_taken(callers: Callers) -> None:
    job_id = callers.rows.parked()
    url = callers.rows.external.callback_url(job_id, action="succeed")
    base, _, token = url.rpartition("/")
    assert base == "https://shop.example/external/jobs"
    assert callers.post(token, 1) == APPLIED


def test_without_a_key_no_token_is_valid(rows: Rows) -> None:
    receiver = Receiver(rows.app)
    assert receiver.receive("any", Request("POST", JSON)).status == 403


# --- A link changes nothing -----------------------------------------------------------------------


@pytest.mark.parametrize(
    "state", ["pending", "started", "parked", "owed", "settled", "retry", "cancelled", "timed_out"]
)
def test_to_look_changes_nothing(callers: Callers, state: str) -> None:
    job_id = getattr(callers.rows, state)()
    before = callers.rows.get(job_id), callers.rows.history(job_id), callers.rows.sent()
    for action in ACTIONS:
        token = callers.token(job_id, action)
        shown, head = callers.get(token), callers.get(token, "HEAD")
        assert (shown.status, head.status, head.body) == (200, 200, b"")
        assert head.headers.keys() == shown.headers.keys()
    expired = callers.token(job_id, expires_at=1)
    assert callers.get(expired).status == 403
    assert (callers.rows.get(job_id), callers.rows.history(job_id), callers.rows.sent()) == (
        *before[:2],
        [],
    )
