"""``python -m examples.flask_webhook``: an order, a call back, a person's word, all checked."""

from __future__ import annotations

import email
import email.policy
import os
import re
import secrets
import sys
from http import HTTPStatus
from pathlib import Path
from typing import Any

import httpx
from celery.result import AsyncResult

from examples.stage import Stage, check, play


def main() -> int:
    """Start everything, order, review, look at it, stop everything."""
    with play("flask_webhook") as stage:
        drawing_url, web_url = stage.reserve("drawing"), stage.reserve("web")
        os.environ.update(
            EXTERNAL_SECRET_KEYS=secrets.token_urlsafe(),
            EXTERNAL_BASE_URL=f"{web_url}/external",
            DRAWING_URL=f"{drawing_url}/drawings",
            STAFF_PASSWORD=secrets.token_urlsafe(),
            REVIEWER="alice@shop.example",
            MAIL_DIRECTORY=str(Path.cwd()),
        )
        stage.serve("drawing", "examples.flask_webhook.fake_drawing:create_app()")
        stage.serve("web", "examples.flask_webhook.web:create_app()")
        stage.start_celery("examples.flask_webhook.tasks")
        run(stage, web_url)
    return 0


def run(stage: Stage, web_url: str) -> None:
    """One order from its beginning to its end."""
    from .tasks import app  # noqa: PLC0415 - only now: it reads the environment

    staff = httpx.Client(base_url=web_url, auth=("staff", os.environ["STAFF_PASSWORD"]), timeout=30)
    with staff:
        order = staff.post("/orders", json={"text": "A mug"}).raise_for_status().json()
        print("ordered: a mug")
        link = str(stage.wait(read_link, "the mail"))
        print("the drawing service has called back, and alice has a mail")
        parked = stage.wait(lambda: staff.get("/parked").raise_for_status().json(), "the list")
    print("parked:", *(f"{job['labels']} {job['meta']}" for job in parked))
    check([job["labels"] for job in parked] == [["review"]], "the review to wait")
    check(link.rpartition("/")[2] not in str(parked), "no token in the list")
    stranger = httpx.get(f"{web_url}/parked").status_code
    print(f"the list without a password: {stranger}")
    check(stranger == HTTPStatus.UNAUTHORIZED, "nobody else to see the list")

    answer = httpx.post(link[:-1], data={"choice": "publish", "by": "mallory"})
    print(f"with a token that is none: {answer.status_code}")
    check(answer.status_code == HTTPStatus.FORBIDDEN, "a wrong token to be refused")
    form = fill_in(httpx.get(link).raise_for_status().text)
    httpx.post(link, data={**form, "by": "alice", "choice": "publish"}).raise_for_status()
    again = httpx.post(link, data={**form, "by": "alice", "choice": "throw away"})
    print(f"alice publishes it; thinking twice: {again.status_code}")
    check(again.status_code == HTTPStatus.CONFLICT, "the first word to count")
    result: AsyncResult[Any] = AsyncResult(order["id"], app=app)
    print(result.get(timeout=30))
    check(result.get() == "A mug: published", "the mug to be published")


def read_link() -> str | None:
    """The link in alice's mail, once she has it."""
    for path in Path.cwd().glob("*.eml"):
        mail = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
        if found := re.search(r"http://\S+/external/jobs/\S+", mail.get_content()):
            return found[0]
    return None


def fill_in(page: str) -> dict[str, str]:
    """What alice's browser sends beside what she types."""
    return dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', page))


if __name__ == "__main__":
    sys.exit(main())
