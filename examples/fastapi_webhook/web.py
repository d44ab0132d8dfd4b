"""The web app: orders and what waits for a person, for users; the receiver, for who has a token.

What waits for a database or a broker is in a ``def``, which FastAPI runs in its threads.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import Depends, FastAPI
from pydantic import BaseModel, Field

from celery_external import Failed, Job, Progress, Succeeded, get_external
from celery_external.contrib.fastapi import router
from celery_external.webhooks import Receiver

from .tasks import app, order
from .users import caller, user

#: A link in the list of reviews is good for so long; the list has a new one each time.
LINK_SECONDS = 3600

User = Annotated[str, Depends(user)]
external = get_external(app)


def read_translation(job: Job, body: Any) -> Succeeded | Failed | Progress | None:  # noqa: ARG001
    """What the translation service's calls mean."""
    match body:
        case {"state": "done", "text": str(text)}:
            return Succeeded(text)
        case {"state": "failed", "why": str(why)}:
            return Failed(why)
        case {"state": "working", "percent": int(percent)}:
            return Progress(percent, 100)
    return None


# Nothing is served that nobody asked for: no /docs, no schema.
web = FastAPI(openapi_url=None)
web.include_router(router(Receiver(app, mapping=read_translation), user=caller), prefix="/external")


class Order(BaseModel):
    """What is to be translated."""

    text: str = Field(min_length=1, max_length=10_000)


@web.post("/translations", status_code=202)
def create_translation(given: Order, by: User) -> dict[str, str]:  # noqa: ARG001 - users only
    """Start the chain; returns at once."""
    job_id, result_id = order(given.text)
    return {
        "id": job_id,
        "result_id": result_id,
        "status_url": external.callback_url(job_id, "view"),
    }


@web.get("/reviews")
def list_reviews(by: User) -> list[dict[str, str]]:  # noqa: ARG001
    """What waits for a person, the newest first, and where to say the word."""
    jobs = external.find_jobs(state="PARKED", labels=["review"], order="-parked")
    return [
        {**job.meta, "decide_url": external.callback_url(job, "decide", expires=LINK_SECONDS)}
        for job in jobs
    ]
