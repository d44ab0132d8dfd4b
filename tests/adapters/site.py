"""A site: a framework's server, the jobs behind it, and what those who call it do."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import uuid4

import httpx
from celery import Celery
from standardwebhooks import Webhook

from celery_external import ExternalTask, Job, JobNotFoundError, get_external, tokens
from celery_external.installation import installation_of
from celery_external.tokens import Action, Claims
from tests.callers import KEY, LATER
from tests.markup import Page
from tests.processes import Process
from tests.rows import ask
from tests.waiting import wait_for

#: The provider's, as it shows it.
VIDEOS_SECRET = "whsec_dmlkZW9z"  # noqa: S105 - the tests'
FORM = {"Content-Type": "application/x-www-form-urlencoded"}
JSON = {"Content-Type": "application/json"}


class Shop:
    """The jobs of a site, seen by one who has nothing to do with a framework."""

    def __init__(
        self, *, broker_url: str, result_url: str, database_url: str, prefix: str = "shop"
    ) -> None:
        self.app = Celery("client", broker=broker_url, backend=result_url, set_as_current=False)
        self.app.conf.update(external_database_url=database_url, result_extended=True)
        self.external = get_external(self.app)
        make = self.app.task(base=ExternalTask, shared=False, name=f"{prefix}.render")
        self.render: Any = make(ask)
        make = self.app.task(base=ExternalTask, shared=False, name=f"{prefix}.approve")
        self.approve: Any = make(ask)
        self.publish: Any = self.app.task(shared=False, name=f"{prefix}.publish")(ask)

    def close(self) -> None:
        """Let go of connections."""
        self.app.close()
        installation_of(self.app).database.dispose()

    def get(self, job_id: str) -> Job:
        """The job as it stands."""
        return self.external.get_job(job_id)

    def started(self, task: Any = None, *args: Any) -> str:
        """Start a job and wait until its worker has parked it."""
        job_id: str = (task or self.render).delay(*(args or (uuid4().hex,))).id
        self.wait_state(job_id, "PARKED")
        return job_id

    def pending(self) -> str:
        """Start a job that no worker takes."""
        job_id: str = self.render.apply_async(("x",), queue="nobody's").id
        return job_id

    def rerun(self, job_id: str) -> None:
        """Start it anew, and wait until that attempt has parked."""
        self.external.rerun_job(job_id)
        wait_for(
            lambda: (self.get(job_id).state, self.get(job_id).attempt) == ("PARKED", 2),
            what=f"attempt 2 of job {job_id}",
        )

    def wait_state(self, job_id: str, state: str) -> Job:
        """Wait until the job has the state."""

        def look() -> Job | None:
            try:
                job = self.get(job_id)
            except JobNotFoundError:
                return None
            return job if job.state == state else None

        job = wait_for(look, what=f"job {job_id} to be {state}")
        assert job is not None
        return job

    def token(self, job_id: str, action: Action = "succeed", **claims: Any) -> str:
        """A token for the job's first attempt, unless the claims say otherwise."""
        key = claims.pop("key", KEY)
        said = {"namespace": "default", "attempt": 1, "expires_at": LATER, **claims}
        return tokens.sign([key], Claims(job_id=job_id, action=action, **said))

    def events(self, job_id: str) -> list[str]:
        """What the job's history is about."""
        return [line.event for line in self.get(job_id).history]


@dataclass(frozen=True)
class Site:
    """A server, and its shop."""

    name: str
    base: str
    shop: Shop
    process: Process
    http: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))

    def close(self) -> None:
        """Let go of connections."""
        self.http.close()

    def url(self, token: str, *, where: str = "external") -> str:
        """Where a token is taken."""
        return f"{self.base}/{where}/jobs/{token}"

    def post(self, token: str, body: Any = None, *, where: str = "external") -> httpx.Response:
        """Send JSON."""
        return self.http.post(self.url(token, where=where), json=body)

    def get(self, token: str) -> httpx.Response:
        """Follow a link."""
        return self.http.get(self.url(token))

    def page(self, token: str, browser: httpx.Client | None = None) -> Page:
        """Follow it, and look at the page."""
        response = (browser or self.http).get(self.url(token))
        assert response.status_code == 200, response.text
        return Page(response.content)

    def send(
        self, token: str, typed: dict[str, str], browser: httpx.Client | None = None
    ) -> httpx.Response:
        """Send a page's form."""
        content = urlencode(typed)
        return (browser or self.http).post(self.url(token), content=content, headers=FORM)

    @contextmanager
    def browser(self, user: str) -> Iterator[httpx.Client]:
        """Somebody who is logged in."""
        with httpx.Client(timeout=30) as browser:
            assert browser.get(f"{self.base}/login/{user}").status_code == 200
            yield browser

    def provide(
        self,
        body: bytes,
        *,
        provider: str = "videos",
        secret: str = VIDEOS_SECRET,
        at: float | None = None,
        headers: dict[str, str] | None = None,
    ) -> httpx.Response:
        """Call as the provider does."""
        signed = sign(body, secret=secret, at=at)
        return self.http.post(
            f"{self.base}/external/providers/{provider}",
            content=body,
            headers={**JSON, **signed, **(headers or {})},
        )


def sign(body: bytes, *, secret: str = VIDEOS_SECRET, at: float | None = None) -> dict[str, str]:
    """The headers of a Standard Webhook."""
    moment = datetime.fromtimestamp(time.time() if at is None else at, UTC)
    signature = Webhook(secret).sign("msg_1", moment, body.decode())
    return {
        "webhook-id": "msg_1",
        "webhook-timestamp": str(int(moment.timestamp())),
        "webhook-signature": signature,
    }
