"""The shop whose jobs people decide in a browser: its Celery app, and its Flask app."""

from __future__ import annotations

import os
from datetime import date
from pathlib import Path
from typing import Any, Literal

from celery import Celery
from flask import Flask, session
from pydantic import BaseModel, Field, field_validator

from celery_external import ExternalTask, current_job
from celery_external.contrib.flask import CeleryExternal, ExternalDashboard
from celery_external.dashboard import Access, Dashboard
from celery_external.webhooks import Receiver

app = Celery("shop", broker=os.environ["BROKER_URL"], backend=os.environ["RESULT_URL"])
app.conf.update(
    external_database_url=os.environ["DATABASE_URL"],
    external_secret_keys=[os.environ["SHOP_SECRET"]],
)


class Review(BaseModel):
    """What a reviewer says: an input of each kind."""

    stars: int = Field(ge=1, le=5, description="One to five")
    title: str = Field("Untitled", max_length=40)
    remark: str = Field("", max_length=1000)
    public: bool = False
    size: Literal["small", "large"] = "small"
    on: date | None = None
    tags: list[str] = Field([], alias="all tags", title="Tags", description="A list, in JSON")

    @field_validator("title")
    @classmethod
    def check_title(cls, title: str) -> str:
        """Refuse what no browser knows to be wrong."""
        if title.isupper():
            message = "please do not shout"
            raise ValueError(message)
        return title


@app.task(base=ExternalTask, choices=("approve", "decline"), form=Review)
def approve(text: str) -> None:
    """A person says something about a text."""
    current_job.meta["text"] = text


@app.task(base=ExternalTask, form=Review)
def rate(text: str) -> None:
    """A person says something about it, and has no choices."""
    current_job.meta["text"] = text


@app.task(base=ExternalTask)
def render(prompt: str) -> None:
    """A person completes or fails it."""
    current_job.meta["prompt"] = prompt


@app.task
def publish(answer: Any) -> Any:
    """The next step, which leaves a line."""
    with Path(os.environ["PUBLISHED"]).open("a") as file:
        print(publish.request.root_id, file=file)
    return answer


def login(name: str) -> str:
    """Log somebody in."""
    session["user"] = name
    return name


web = Flask(__name__)
web.secret_key = os.environ["SHOP_SECRET"]
web.get("/login/<name>")(login)
CeleryExternal(web, Receiver(app), user=lambda: session.get("user"))


def authorize() -> Access | None:
    """Whoever is logged in may look, and all but one may decide."""
    user = session.get("user")
    return Access(user, may_decide=user != "bob") if user else None


ExternalDashboard(web, Dashboard(app, authorize=authorize))
