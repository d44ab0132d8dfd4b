"""Those who call the receiver, without a framework between."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlencode

from celery_external import tokens
from celery_external.tokens import Action, Claims
from celery_external.webhooks import Receiver, Request, Response
from tests.rows import Rows

#: Sign tokens: the first does, any verifies.
KEY, OLD_KEY, STRANGE_KEY = ("key" * 12, "old" * 12, "strange" * 6)
JSON = {"Content-Type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded; charset=utf-8"}
#: When no token has expired.
LATER = 1 << 40
ACTIONS = tokens.ACTIONS
#: The answer to a word that counts.
APPLIED = (200, {"status": "applied"})
#: Headers that every answer has.
SAFE = {
    "Content-Security-Policy": "default-src 'none'; form-action 'self'; base-uri 'none'; "
    "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-store",
    "X-Content-Type-Options": "nosniff",
}


class Callers:
    """Rows, a receiver for them, and what callers do."""

    def __init__(self, database_url: str, **options: Any) -> None:
        self.rows = Rows(
            database_url,
            external_secret_keys=[KEY, OLD_KEY],
            external_base_url="https://shop.example/external",
        )
        self.receiver = Receiver(self.rows.app, **options)

    def declare(self, name: str = "rows.ask", **options: Any) -> Any:
        """Have the app know another task; of the rows' own name: in its place."""
        return self.rows.declare(name, **options)

    def token(self, job_id: str, action: Action = "succeed", **claims: Any) -> str:
        """A token for the job's first attempt, unless the claims say otherwise."""
        said = {
            "namespace": self.rows.namespace,
            "job_id": job_id,
            "attempt": 1,
            "action": action,
            "expires_at": LATER,
        }
        key = claims.pop("key", KEY)
        return tokens.sign([key], Claims(**{**said, **claims}))

    def call(self, token: str, method: str = "POST", body: bytes = b"", **how: Any) -> Response:
        """Any call with a token."""
        given = Request(method, how.pop("headers", JSON), body, **how)
        return self.receiver.receive(token, given)

    def get(self, token: str, method: str = "GET", by: str | None = None) -> Response:
        """Follow a link."""
        return self.receiver.receive(token, Request(method, {}, by=by))

    def post(self, token: str, body: Any = None, by: str | None = None) -> tuple[int, Any]:
        """Send JSON; returns the status and what the answer says."""
        response = self.call(token, body=json.dumps(body).encode(), by=by)
        return response.status, json.loads(response.body)

    def send(self, token: str, typed: Mapping[str, str], by: str | None = None) -> Response:
        """Send the form of a page."""
        return self.call(token, body=urlencode(typed).encode(), headers=FORM, by=by)


def end(callers: Callers, job_id: str) -> tuple[Any, ...]:
    """How a job has ended: kind, result, reason, and who said it."""
    job = callers.rows.external.get_job(job_id)
    return job.kind, job.result, job.reason, job.completed_by
