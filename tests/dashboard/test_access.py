"""Who is let in, what they may do, and what every answer has."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest
import sqlalchemy as sa
from celery import Celery

from celery_external import OptionError
from celery_external.dashboard import Access, Dashboard, Response
from celery_external.dashboard.assets import load_assets
from celery_external.dashboard.site import check_access
from celery_external.schema import history, job
from tests.callers import FORM, KEY
from tests.dashboard.sheet import SAFE, Sheet, sheet_of
from tests.dashboard.visitors import ADA, BOB, Visitors, job_url

PATHS = ("/", "/jobs", "/job?id=x", "/nowhere")
ASSETS = tuple(asset.path for asset in load_assets().values())


def everything(visitors: Visitors) -> list[Any]:
    """All that the database has."""
    with visitors.rows.database.engine.connect() as connection:
        return [list(connection.execute(sa.select(table))) for table in (job, history)]


# --- Closed, and open -----------------------------------------------------------------------------


@pytest.mark.parametrize("path", [*PATHS, *ASSETS])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_it_is_closed_by_default(
    make_visitors: Callable[..., Visitors], path: str, method: str
) -> None:
    visitors = make_visitors(authorize=None)
    # Whatever an adapter may say: nobody has been asked.
    sheet = sheet_of(visitors.ask(path, ADA, method=method, headers=FORM), 403)
    assert "def authorize(request):" in sheet.text
    assert sheet.links == []
    assert not [given for tag, given in sheet.tags if tag == "script"]
    assert visitors.dashboard.ask(path, "anything") is None


@pytest.mark.parametrize("path", PATHS)
def test_whom_authorize_does_not_know_is_refused(visitors: Visitors, path: str) -> None:
    for method in ("GET", "POST"):
        sheet = sheet_of(visitors.ask(path, None, method=method, headers=FORM), 403)
        assert "You are not allowed to see this dashboard" in sheet.text
        assert sheet.forms == []


def test_authorize_is_given_what_the_host_has(make_visitors: Callable[..., Visitors]) -> None:
    seen: list[Any] = []

    def authorize(*given: Any) -> Access:
        seen.append(given)
        return BOB

    dashboard = make_visitors(authorize=authorize).dashboard
    assert dashboard.ask("/jobs", "request") is BOB
    assert seen == [("request",)]
    assert dashboard.ask(ASSETS[0], "request") is None
    assert len(seen) == 1


def test_authorize_says_who_it_is_or_nothing() -> None:
    answer = Response(302, b"", {"Location": "/login"})
    for said in (None, BOB, answer):
        assert check_access(said, Response) is said
    for wrong in (True, "bob", False, 0):
        with pytest.raises(OptionError, match="must return an Access, None, or a response"):
            check_access(wrong, Response)


@pytest.mark.parametrize("user", ["", " ", None, 7, "a\x00b", "a\nb", "x" * 256, "\ud800"])
def test_a_user_has_a_name(user: Any) -> None:
    with pytest.raises(OptionError, match="user: "):
        Access(user)


def test_a_method_that_was_not_called_is_no_right() -> None:
    with pytest.raises(OptionError, match="may_decide: must be True or False"):
        Access("ada", may_decide=ADA.__repr__)  # type: ignore[arg-type]
    assert Access("ada").may_decide is False


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"authorize": "ada"}, "authorize: must be a function"),
        ({"max_body": 0}, "max_body: must be a number of bytes"),
        # A text's letters would be keys that anybody guesses.
        ({"secret_keys": KEY}, "secret_keys: must be a list of texts"),
        ({"secret_keys": ""}, "secret_keys: must be a list of texts"),
        ({"secret_keys": [""]}, "secret_keys: each must be a text of at least 32"),
        ({"secret_keys": [KEY, "short"]}, "secret_keys: each must be a text of at least 32"),
        ({"secret_keys": [None]}, "secret_keys: each must be a text of at least 32"),
    ],
)
def test_what_a_dashboard_cannot_be_given(
    visitors: Visitors, options: dict[str, Any], problem: str
) -> None:
    with pytest.raises(OptionError, match=problem):
        Dashboard(visitors.rows.app, **options)


# --- Only to look ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "words"),
    [({"keys": None}, "external_secret_keys is not set"), ({"read_only": True}, "only to be")],
)
def test_a_dashboard_that_nobody_decides_on_says_why(
    make_visitors: Callable[..., Visitors], options: dict[str, Any], words: str
) -> None:
    visitors = make_visitors(**options)
    job_id = visitors.rows.parked()
    for url in ("/jobs", job_url(job_id)):
        sheet = visitors.see(url)
        assert words in sheet.text
        assert not [form for form in sheet.forms if form.method == "post"]
    for url in ("/jobs", job_url(job_id, attempt="1", do="cancel")):
        response = visitors.post(url, {"key": "", "do": "cancel", "pick": f"1:{job_id}"})
        assert "not decide" in sheet_of(response, 403).text
    assert visitors.history(job_id) == []


def test_keys_may_be_the_dashboards_own(make_visitors: Callable[..., Visitors]) -> None:
    visitors = make_visitors(keys=None, secret_keys=[KEY])
    job_id = visitors.rows.parked()
    assert visitors.decide(job_id, "Cancel").status == 303


def test_nothing_is_changed_by_a_look(visitors: Visitors) -> None:
    job_id = visitors.rows.parked(timeout=100)
    visitors.rows.move(job_id, deadline=-1, wake_at=-1)
    before = everything(visitors)
    decide = job_url(job_id, attempt="1", do="cancel", key="x", choice="approve")
    for url in ("/", "/?live=1", "/jobs", "/jobs?do=cancel&pick=1:" + job_id, decide):
        for method in ("GET", "HEAD"):
            assert visitors.ask(url, method=method).status == 200
    assert everything(visitors) == before
    assert visitors.rows.sent() == []


# --- Every answer ---------------------------------------------------------------------------------


def test_a_head_has_no_body(visitors: Visitors) -> None:
    response = visitors.ask("/jobs", method="HEAD")
    assert (response.status, response.body, dict(response.headers)) == (200, b"", SAFE)


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/nowhere", 404),
        ("GET", "/jobs/", 404),
        ("POST", "/nowhere", 404),
        ("PUT", "/jobs", 405),
        ("POST", "/", 405),
        ("GET", "/static/0/dashboard.css", 404),
        ("GET", "/static/../site.py", 404),
        ("POST", ASSETS[0], 404),
        ("GET", "/jobs?" + "a&" * 5000, 422),
        ("GET", "/jobs?" + "label=a&" * 101, 422),
    ],
    ids=lambda text: str(text)[:20],
)
def test_what_there_is_not(visitors: Visitors, method: str, path: str, status: int) -> None:
    assert sheet_of(visitors.ask(path, method=method, headers=FORM), status).links


@pytest.mark.parametrize("name", list(load_assets()))
def test_a_file_is_kept_by_browsers(visitors: Visitors, name: str) -> None:
    asset = load_assets()[name]
    assert f"/where/it%20is{asset.path}" in str(visitors.see("/jobs").tags)
    response = visitors.ask(asset.path, None)
    assert (response.status, response.body) == (200, asset.content)
    assert dict(response.headers) == {
        "Content-Type": asset.content_type,
        "Cache-Control": "public, max-age=31536000, immutable",
        "X-Content-Type-Options": "nosniff",
    }


def test_htmx_runs_nothing_and_keeps_nothing(visitors: Visitors) -> None:
    config = str(visitors.see("/jobs").find(name="htmx-config")["content"])
    for words in ('"allowEval": false', '"allowScriptTags": false', '"selfRequestsOnly": true',
                  '"includeIndicatorStyles": false', '"historyCacheSize": 0'):  # fmt: skip
        assert words in config


def test_what_is_too_large_is_not_read(make_visitors: Callable[..., Visitors]) -> None:
    visitors = make_visitors(max_body=100)
    visitors.rows.parked()
    assert "too large" in sheet_of(visitors.post("/jobs", {"do": "x" * 100}), 413).text


@pytest.mark.parametrize("body", [b"\xff", b"no form", b"a=1&" * 300])
def test_what_is_no_form(visitors: Visitors, body: bytes) -> None:
    response = visitors.ask("/jobs", method="POST", headers=FORM, body=body)
    assert sheet_of(response, 422).forms


def test_the_database_is_away(visitors: Visitors, caplog: pytest.LogCaptureFixture) -> None:
    with visitors.rows.database.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE celery_external_version SET version_num = 'older'")
    app = Celery(set_as_current=False)
    app.conf.external_database_url = visitors.rows.app.conf.external_database_url
    visitors.dashboard = Dashboard(app, authorize=lambda: ADA)
    for path in ("/", "/jobs", "/job?id=x"):
        assert "The jobs' database is away" in visitors.see(path, status=503).text
    assert "external upgrade" in caplog.text


def test_an_error_of_ours_is_logged_and_not_shown(
    visitors: Visitors, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = visitors.rows.parked()
    visitors.rows.write(job_id, progress={"at": "no time"})
    response = visitors.ask(job_url(job_id))
    assert "The log says what" in sheet_of(response, 500).text
    assert b"no time" not in response.body
    (record,) = [one for one in caplog.records if one.levelno >= logging.ERROR]
    assert "Dashboard: GET /job cannot be answered" in record.getMessage()
    assert "no time" in caplog.text


# --- Whatever is in a job -------------------------------------------------------------------------

ATTACK = '"><img src onerror="x()"></title></textarea></style><script>x()</script>\'{{7*7}}'


def test_nothing_of_a_job_is_markup(visitors: Visitors) -> None:
    job_id = visitors.rows.parked(
        task_id=ATTACK, shadow=ATTACK, labels=[ATTACK], meta={ATTACK: {ATTACK: ATTACK}},
        args=(ATTACK,), root_id=ATTACK, queue=None,
    )  # fmt: skip
    visitors.rows.write(job_id, reference=ATTACK, queue=ATTACK, parent_id=ATTACK)
    visitors.external.signal_progress(job_id, 1, 2, ATTACK)
    visitors.external.extend_job(job_id, timeout=5, by=ATTACK, reason=ATTACK)
    ada = Access(ATTACK, may_decide=True)
    for url in ("/", "/jobs", job_url(job_id)):
        sheet = visitors.see(url, ada)
        assert "img" not in {tag for tag, _ in sheet.tags}
        assert "49" not in sheet.text.split()
    visitors.external.signal_failed(job_id, ATTACK, by=ATTACK)
    assert ATTACK in " ".join(visitors.job(job_id).words)
    # What is typed into a URL.
    for name in ("task", "meta", "label", "order", "state", "after", "created_since"):
        response = visitors.ask(f"/jobs?{name}=%22%3E%3Cscript%3Ex()%3C/script%3E")
        assert "script" not in [t for t, g in Sheet(response.body).tags if "src" not in g]


def test_what_no_page_can_show_is_replaced(visitors: Visitors) -> None:
    job_id = visitors.rows.parked()
    kept = r'{"text": "a\ud800b"}'
    with visitors.rows.database.engine.connect() as connection:
        connection.exec_driver_sql("UPDATE celery_external_job SET meta = ?", (kept,))
    assert "a?b" in visitors.job(job_id).text
