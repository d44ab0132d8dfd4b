"""What hosts may set, without a server: each framework's own client."""

from __future__ import annotations

from io import BytesIO
from typing import Any

import pytest
from flask import Flask, request
from flask_login import LoginManager
from flask_wtf import CSRFProtect

from celery_external.contrib.flask import CeleryExternal
from celery_external.webhooks import Receiver
from celery_external.webhooks.exchange import RETRY_AFTER, RefusedError
from celery_external.webhooks.wsgi import read_body
from tests.callers import JSON, SAFE, Callers

CHUNKED = {"HTTP_TRANSFER_ENCODING": "chunked"}


@pytest.fixture
def database_url(sqlite_url: str) -> str:
    """Which it is does not matter here."""
    return sqlite_url


# --- Flask ----------------------------------------------------------------------------------------


def post(web: Flask, path: str, data: bytes = b"1") -> tuple[int, Any]:
    answer = web.test_client().post(path, data=data, headers=JSON)
    return answer.status_code, answer.json


def test_one_extension_serves_several_apps(callers: Callers) -> None:
    external = CeleryExternal(url_prefix="/hooks", user=lambda: "ada")
    webs = [Flask("one"), Flask("two")]
    external.init_app(webs[0], callers.receiver)
    webs[1].extensions["celery"] = callers.rows.app
    external.init_app(webs[1])
    for web in webs:
        job_id = callers.rows.parked()
        assert post(web, f"/hooks/jobs/{callers.token(job_id)}")[0] == 200
        assert callers.rows.external.get_job(job_id).completed_by == "ada"
        assert post(web, f"/external/jobs/{callers.token(job_id)}")[0] == 404
    one, two = (web.extensions["celery_external"].receiver for web in webs)
    assert one is callers.receiver
    assert isinstance(two, Receiver)
    assert (two is one, two.app) == (False, callers.rows.app)


@pytest.mark.parametrize("is_first", [True, False])
def test_flask_wtf_is_not_asked_in_either_order(callers: Callers, is_first: bool) -> None:  # noqa: FBT001 - a parameter
    web = Flask("shop")
    web.secret_key = "the host's"  # noqa: S105 - the tests'
    web.post("/own")(lambda: "done")
    if is_first:
        CSRFProtect(web)
    CeleryExternal(web, callers.receiver)
    if not is_first:
        CSRFProtect(web)
    job_id = callers.rows.parked()
    assert post(web, f"/external/jobs/{callers.token(job_id)}") == (200, {"status": "applied"})
    assert post(web, "/own")[0] == 400


def test_what_a_host_has_read_before_is_there(callers: Callers) -> None:
    web = Flask("shop")
    seen: list[bytes] = []

    @web.before_request
    def look() -> None:
        seen.append(request.get_data())

    CeleryExternal(web, callers.receiver)
    job_id = callers.rows.parked()
    assert post(web, f"/external/jobs/{callers.token(job_id)}", b'"all"')[0] == 200
    assert (callers.rows.external.get_job(job_id).result, seen) == ("all", [b'"all"'])


def test_a_smaller_limit_of_flasks_own_holds(callers: Callers) -> None:
    web = Flask("shop")
    web.config["MAX_CONTENT_LENGTH"] = 10
    CeleryExternal(web, callers.receiver)
    job_id = callers.rows.parked()
    status, answer = post(web, f"/external/jobs/{callers.token(job_id)}", b'"0123456789"')
    assert (status, answer["error"]) == (413, "too_large")
    assert post(web, f"/external/jobs/{callers.token(job_id)}", b'"0"')[0] == 200


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_flask_login_whose_database_is_away(
    callers: Callers, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    web = Flask("shop")
    web.secret_key = "the host's"  # noqa: S105 - the tests'
    login_manager: Any = LoginManager(web)

    @login_manager.user_loader  # type: ignore[untyped-decorator]  # it has no types
    def load(name: str) -> None:
        raise ConnectionError(name)

    CeleryExternal(web, callers.receiver)
    client, job_id = web.test_client(), callers.rows.parked()
    with client.session_transaction() as session:
        session["_user_id"] = "ada"
    token = callers.token(job_id)
    answer = client.open(f"/external/jobs/{token}", method=method, data=b"1", headers=JSON)
    assert (answer.status_code, answer.json) == (503, {"error": "unavailable"})
    assert dict(answer.headers).items() >= {"Retry-After": str(RETRY_AFTER), **SAFE}.items()
    assert callers.rows.get(job_id)["kind"] is None
    assert "Nobody can say who is logged in" in caplog.text
    assert "ConnectionError: ada" in caplog.text
    assert token not in caplog.text


# --- WSGI -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environ", "there", "found"),
    [
        ({}, b"", b""),
        ({"CONTENT_LENGTH": ""}, b"ignored", b""),
        ({"CONTENT_LENGTH": "3"}, b"all", b"all"),
        ({"CONTENT_LENGTH": "3"}, b"all and the next request", b"all"),
        ({"CONTENT_LENGTH": "50"}, b"x" * 50, b"x" * 9),
        ({**CHUNKED, "wsgi.input_terminated": True}, b"all", b"all"),
        ({**CHUNKED, "wsgi.input_terminated": True}, b"x" * 50, b"x" * 9),
        ({"CONTENT_LENGTH": "3"}, b"al", 400),
        ({"CONTENT_LENGTH": "50"}, b"x" * 8, 400),
        *(
            ({"CONTENT_LENGTH": odd}, b"all", 400)
            for odd in ("-1", "-3", "+3", "1_0", "x", "3, 3", "\u0663", "0x3", "9" * 5000)
        ),
        (CHUNKED, b"all", 411),
    ],
)
def test_a_body_of_wsgi(environ: dict[str, Any], there: bytes, found: bytes | int) -> None:
    stream = BytesIO(there)

    def read(size: int) -> bytes:
        return stream.read(min(size, 2))  # as a server may

    if isinstance(found, bytes):
        assert read_body(environ, read, 9) == found
        return
    with pytest.raises(RefusedError) as refused:
        read_body(environ, read, 9)
    assert refused.value.answer.status == found


def test_a_connection_that_breaks() -> None:
    def read(_size: int) -> bytes:
        raise ConnectionResetError

    with pytest.raises(RefusedError) as refused:
        read_body({"CONTENT_LENGTH": "3"}, read, 9)
    assert refused.value.answer.status == 400
