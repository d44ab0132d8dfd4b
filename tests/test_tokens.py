"""Signed tokens: bound to one attempt of a job and one action, and signed by a key of ours."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celery_external import JobNotFoundError, OptionError, SettingsError, TokenRefusedError
from celery_external.tokens import ACTIONS, DEFAULT_LIFETIME, MAX_LENGTH, Claims, sign, verify
from tests.rows import Rows

OLD, NEW, FOREIGN = ("old" * 11, "new" * 11, "foreign" * 11)
CLAIMS = Claims("default", "3f0a", 1, "decide", 2_000_000_000)
BASE_URL = "https://shop.example/external"


@pytest.fixture
def keyed(database_url: str) -> Iterator[Rows]:
    """Rows of an app that signs."""
    made = Rows(database_url, external_secret_keys=[NEW, OLD], external_base_url=f"{BASE_URL}/")
    with closing(made):
        yield made


# --- Signed and verified --------------------------------------------------------------------------


def test_a_token_says_what_was_signed() -> None:
    assert verify([NEW], sign([NEW], CLAIMS)) == CLAIMS


def test_the_first_key_signs_and_any_verifies() -> None:
    assert sign([NEW, OLD], CLAIMS) == sign([NEW], CLAIMS)
    assert verify([NEW, OLD], sign([OLD], CLAIMS)) == CLAIMS
    assert verify([OLD, NEW], sign([NEW], CLAIMS)) == CLAIMS


def test_a_token_of_a_key_that_was_taken_away_is_refused() -> None:
    with pytest.raises(TokenRefusedError) as caught:
        verify([NEW], sign([OLD], CLAIMS))
    assert str(caught.value) == "The token is not valid"


@pytest.mark.parametrize("position", range(len(sign([NEW], CLAIMS))))
def test_no_character_can_be_changed(position: int) -> None:
    token = sign([NEW], CLAIMS)
    other = "A" if token[position] != "A" else "B"
    changed = token[:position] + other + token[position + 1 :]
    try:
        assert verify([NEW], changed) == CLAIMS  # the spare bits of the last character of base64
    except TokenRefusedError:
        return
    assert position in {len(token) - 1, token.index(".") - 1}


@pytest.mark.parametrize(
    "token",
    ["", ".", "a.b", "é", "\x00", "a" * (MAX_LENGTH + 1), sign([FOREIGN], CLAIMS),
     sign([NEW], CLAIMS)[:-5], sign([NEW], CLAIMS).partition(".")[0]],
    ids=["empty", "dot", "short", "not ASCII", "NUL", "long", "foreign", "cut", "unsigned"],
)  # fmt: skip
def test_what_nobody_signed_is_refused(token: str) -> None:
    with pytest.raises(TokenRefusedError):
        verify([NEW], token)


def test_without_keys_nothing_is_valid() -> None:
    with pytest.raises(TokenRefusedError):
        verify([], sign([NEW], CLAIMS))


@pytest.mark.parametrize("name", ["namespace", "job_id", "attempt", "action", "expires_at"])
def test_every_claim_is_signed(name: str) -> None:
    other: dict[str, Any] = {"namespace": "x", "job_id": "x", "attempt": 2, "action": "view",
                             "expires_at": 5}  # fmt: skip
    changed = replace(CLAIMS, **{name: other[name]})
    body = sign([FOREIGN], changed).rpartition(".")[0]
    signature = sign([NEW], CLAIMS).rpartition(".")[2]
    with pytest.raises(TokenRefusedError):
        verify([NEW], f"{body}.{signature}")


# --- Of a job -------------------------------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_a_jobs_token_names_its_present_attempt(keyed: Rows, action: Any) -> None:
    job_id = keyed.retry()
    claims = verify([NEW], keyed.external.token(job_id, action))
    assert replace(claims, expires_at=0) == Claims("default", job_id, 2, action, 0)
    assert claims.expires_at == pytest.approx(time.time() + DEFAULT_LIFETIME, abs=20)


def test_a_snapshots_token_names_the_attempt_that_it_shows(keyed: Rows) -> None:
    job = keyed.external.get_job(keyed.started())
    assert keyed.begin_next_attempt(keyed.get(job.id), "RETRY")
    assert verify([NEW], keyed.external.token(job, "view")).attempt == 1
    assert verify([NEW], keyed.external.token(job.id, "view")).attempt == 2


@pytest.mark.parametrize(
    ("expires", "moment"),
    [
        (60, lambda: time.time() + 60),
        (timedelta(days=2), lambda: time.time() + 2 * 86400),
        (datetime(2999, 1, 1, tzinfo=UTC), lambda: datetime(2999, 1, 1, tzinfo=UTC).timestamp()),
    ],
    ids=["seconds", "timedelta", "datetime"],
)
def test_when_a_token_is_over(keyed: Rows, expires: Any, moment: Any) -> None:
    token = keyed.external.token(keyed.parked(), "view", expires=expires)
    assert verify([NEW], token).expires_at == pytest.approx(moment(), abs=20)


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"action": "delete"}, "action: must be one of succeed, fail, decide, view, not 'delete'"),
        ({"action": []}, "action: must be one of succeed, fail, decide, view, not []"),
        ({"action": "view", "expires": 0},
         "expires: must be more than 0 and at most 100 years, not 0"),
        ({"action": "view", "expires": "soon"}, "expires: must be a number of seconds, not 'soon'"),
        ({"action": "view", "expires": datetime(2999, 1, 1)},  # noqa: DTZ001 - on purpose
         "expires: must be aware (have a time zone): datetime.datetime(2999, 1, 1, 0, 0)"),
    ],
)  # fmt: skip
def test_a_token_that_cannot_be_made(keyed: Rows, options: Any, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        keyed.external.token(keyed.parked(), **options)
    assert str(caught.value) == problem


def test_a_token_of_no_job(keyed: Rows) -> None:
    with pytest.raises(JobNotFoundError):
        keyed.external.token("no such job", "view")


def test_a_callback_url_is_at_the_receiver(keyed: Rows) -> None:
    job_id = keyed.parked()
    url = keyed.external.callback_url(job_id, "decide", expires=60)
    base, _, token = url.rpartition("/")
    assert base == f"{BASE_URL}/jobs"
    assert verify([NEW], token).job_id == job_id


def test_without_a_secret_it_says_how_to_set_one(rows: Rows) -> None:
    with pytest.raises(SettingsError) as caught:
        rows.external.token(rows.parked(), "view")
    assert str(caught.value) == (
        "Setting external_secret_keys: tokens need it: set a list of one secret, such as "
        'python -c "import secrets; print(secrets.token_urlsafe())" prints'
    )


def test_without_a_base_url_it_says_how_to_set_one(sqlite_url: str) -> None:
    with (
        closing(Rows(sqlite_url, external_secret_keys=[NEW])) as made,
        pytest.raises(SettingsError) as caught,
    ):
        made.external.callback_url(made.parked(), "view")
    assert str(caught.value) == (
        "Setting external_base_url: callback URLs need it: set it to where the receiver is, "
        "such as https://shop.example/external"
    )


def test_keys_are_not_shown(keyed: Rows) -> None:
    assert NEW not in repr(keyed.installation.settings)
