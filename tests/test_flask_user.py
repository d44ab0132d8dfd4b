"""Who is logged in to a Flask app: an error is answered, and a refusal is Flask's own."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from flask import Flask, abort

from celery_external.contrib.flask import CeleryExternal
from celery_external.webhooks import Receiver
from tests.rows import Rows


def refuse() -> str | None:
    abort(403)


def fail() -> str | None:
    raise LookupError("no database of users")


@pytest.mark.parametrize(("user", "status"), [(refuse, 403), (fail, 503)])
def test_a_user_who_cannot_be_known(
    rows: Rows, caplog: pytest.LogCaptureFixture, user: Callable[[], str | None], status: int
) -> None:
    web = Flask("web")
    CeleryExternal(web, Receiver(rows.app), user=user)
    answer = web.test_client().get("/external/jobs/a-secret-token")
    assert answer.status_code == status
    assert "a-secret-token" not in caplog.text
