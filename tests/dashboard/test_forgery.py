"""Forms that somebody else has made: nothing of them counts."""

from __future__ import annotations

from datetime import timedelta

import pytest
import time_machine

from celery_external.dashboard import Access
from celery_external.dashboard.forgery import LIFETIME, form_key
from celery_external.webhooks.form_keys import form_key as link_key
from tests.callers import KEY, OLD_KEY, STRANGE_KEY
from tests.dashboard.sheet import sheet_of
from tests.dashboard.visitors import ADA, HOST, Visitors, job_url

GOOD = form_key([KEY], ADA.user)
FORGED = {
    "none": "",
    "another": "x",
    "no ASCII": "é" * 40,
    "too long": GOOD + "x" * 1000,
    "cut off": GOOD[:-1],
    "changed": GOOD.replace(GOOD[0], "x", 1),
    "another user's": form_key([KEY], "bob"),
    "of a strange key": form_key([STRANGE_KEY], ADA.user),
    "of a link's page": link_key([KEY], "token", ADA.user),
}


@pytest.mark.parametrize("name", FORGED)
@pytest.mark.parametrize("page", ["list", "job"])
def test_a_forged_key_is_refused(visitors: Visitors, name: str, page: str) -> None:
    job_id = visitors.rows.parked()
    fields = {"key": FORGED[name], "do": "cancel", "pick": f"1:{job_id}", "send": "yes"}
    url = "/jobs" if page == "list" else job_url(job_id, attempt="1", do="cancel")
    sheet = sheet_of(visitors.post(url, fields), 403)
    assert "Please open the page again, and answer from there" in sheet.text
    assert visitors.history(job_id) == []
    assert visitors.post(url, {**fields, "key": GOOD}).status in {200, 303}


def test_a_key_expires(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    fields = {"key": form_key([KEY], ADA.user), "send": "yes"}
    url = job_url(job_id, attempt="1", do="cancel")
    with time_machine.travel(timedelta(seconds=LIFETIME + 60)):
        sheet = sheet_of(visitors.post(url, fields), 403)
        assert "The page had been open for too long" in sheet.text
        assert visitors.history(job_id) == []
    with time_machine.travel(timedelta(seconds=LIFETIME - 60)):
        assert visitors.post(url, fields).status == 303


def test_keys_can_be_rotated(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    url = job_url(job_id, attempt="1", do="cancel")
    fields = {"key": form_key([OLD_KEY], ADA.user), "send": "yes"}
    assert visitors.post(url, fields).status == 303


@pytest.mark.parametrize(
    ("headers", "is_ours"),
    [
        ({}, True),
        ({"Sec_Fetch_Site": "same-origin"}, True),
        ({"Sec_Fetch_Site": "none"}, True),
        ({"Origin": f"https://{HOST}"}, True),
        ({"Origin": f"https://{HOST.upper()}"}, True),
        # Behind a proxy that gives another host; the browser's word is better.
        ({"Sec_Fetch_Site": "same-origin", "Origin": "https://public.example"}, True),
        ({"Sec_Fetch_Site": "cross-site"}, False),
        ({"Sec_Fetch_Site": "same-site"}, False),
        ({"Sec_Fetch_Site": "cross-site", "Origin": f"https://{HOST}"}, False),
        ({"Sec_Fetch_Site": ""}, False),
        ({"Origin": "https://evil.example"}, False),
        ({"Origin": f"https://{HOST}.evil.example"}, False),
        ({"Origin": f"https://{HOST}:8443"}, False),
        ({"Origin": "null"}, False),
        ({"Origin": "https://[evil"}, False),
        ({"Origin": ""}, False),
    ],
    ids=str,
)
def test_where_a_form_comes_from(
    visitors: Visitors,
    headers: dict[str, str],
    is_ours: bool,  # noqa: FBT001 - a parameter
) -> None:
    job_id = visitors.rows.parked()
    url = job_url(job_id, attempt="1", do="cancel")
    response = visitors.post(url, {"key": GOOD, "send": "yes"}, ADA, **headers)
    if is_ours:
        assert response.status == 303
    else:
        assert "another site's page" in sheet_of(response, 403).text
        assert visitors.history(job_id) == []


def test_the_name_in_the_history_is_nobody_elses_word(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    url = job_url(job_id, attempt="1", do="cancel")
    fields = {"key": GOOD, "send": "yes", "by": "mallory", "user": "mallory"}
    assert visitors.post(f"{url}&by=mallory", fields).status == 303
    assert visitors.history(job_id) == [("cancelled", "ada", None)]


def test_a_right_that_was_taken_back_is_no_right(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    form = visitors.job(job_id).form("Cancel")
    assert visitors.send(form, access=Access("ada")).status == 403
    assert visitors.history(job_id) == []
