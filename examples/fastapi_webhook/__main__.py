"""``python -m examples.fastapi_webhook``: orders, a service that calls back, a person's word."""

from __future__ import annotations

import os
import re
import secrets
import sys
from http import HTTPStatus

import httpx
from celery.result import AsyncResult

from celery_external import get_external
from examples.stage import Stage, check, play

EXAMPLE = "examples.fastapi_webhook"


def main() -> int:
    """Start everything, order, decide, look at it, stop everything."""
    alice, bob = secrets.token_urlsafe(), secrets.token_urlsafe()
    with play("fastapi_webhook") as stage:
        translator_url, web_url = stage.reserve("translator"), stage.reserve("web")
        os.environ.update(
            EXTERNAL_SECRET_KEYS=secrets.token_urlsafe(),
            EXTERNAL_BASE_URL=f"{web_url}/external",
            TRANSLATOR_URL=f"{translator_url}/orders",
            API_KEYS=f"alice:{alice} bob:{bob}",
        )
        stage.serve_asgi("translator", f"{EXAMPLE}.fake_translator:web")
        stage.serve_asgi("web", f"{EXAMPLE}.web:web")
        stage.start_celery(f"{EXAMPLE}.tasks")
        with (
            httpx.Client(base_url=web_url, timeout=30) as nobody,
            httpx.Client(base_url=web_url, timeout=30, headers=key(alice)) as hers,
            httpx.Client(base_url=web_url, timeout=30, headers=key(bob)) as his,
        ):
            run(stage, nobody, hers, his)
    return 0


def key(secret: str) -> dict[str, str]:
    """The header of a user."""
    return {"Authorization": f"Bearer {secret}"}


def run(stage: Stage, nobody: httpx.Client, alice: httpx.Client, bob: httpx.Client) -> None:
    """One order that is delivered, and one that the service cannot translate."""
    from .tasks import app, review  # noqa: PLC0415 - only now: it reads the environment

    stranger = nobody.post("/translations", json={"text": "Hello"})
    print(f"ordered without a key: {stranger.status_code}")
    check(stranger.status_code == HTTPStatus.UNAUTHORIZED, "only users to order")
    order = alice.post("/translations", json={"text": "Hello"}).raise_for_status().json()
    print("ordered by alice: Hello")

    found = stage.wait(lambda: bob.get("/reviews").raise_for_status().json(), "the review")[0]
    print(f"the service has called back: {found['text']} is {found['translation']}")
    status = read_status(order)
    print(f"the status page: {status}")
    check(status == "succeeded by callback", "the status page to say so")
    forbidden = nobody.post(order["status_url"], json={"state": "done", "text": "Olleh"})
    print(f"something said by the link to look: {forbidden.status_code}")
    check(forbidden.status_code == HTTPStatus.FORBIDDEN, "the link to allow no more")

    link = found["decide_url"]
    unsigned = nobody.post(link, json={"choice": "deliver"})
    print(f"decided by nobody: {unsigned.status_code} {unsigned.json()['fields']}")
    check(unsigned.status_code == HTTPStatus.UNPROCESSABLE_ENTITY, "somebody to decide")
    bob.post(link, json={"choice": "deliver"}).raise_for_status()
    late = alice.post(link, json={"choice": "throw away"})
    job = get_external(app).find_jobs(root_id=order["id"], task=review.name)[0]
    print(f"decided by {job.completed_by}; alice thinks otherwise: {late.status_code}")
    check((job.completed_by, late.status_code) == ("bob", 409), "the first word to count")
    result: AsyncResult[str] = AsyncResult(order["result_id"], app=app)
    print(result.get(timeout=30))
    check(result.get() == "Hello: delivered", "the translation to be delivered")

    order = alice.post("/translations", json={"text": "Covfefe"}).raise_for_status().json()
    status = stage.wait(lambda: read_status(order), "the service to call back")
    print(f"Covfefe: {status}")
    check(status == "failed by callback", "the service to fail")


def read_status(order: dict[str, str]) -> str | None:
    """How the translation has ended, for whoever has the link."""
    page = httpx.get(order["status_url"]).raise_for_status().text
    found = re.search("This is over: (.*) on ", page)
    return found and found[1]


if __name__ == "__main__":
    sys.exit(main())
