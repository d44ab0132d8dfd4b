"""The tasks: two ways to have a picture rendered, and what follows."""

from __future__ import annotations

import html
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx
from celery import chain
from celery.result import AsyncResult

from celery_external import (
    ExternalJobFailed,
    ExternalTask,
    Failed,
    Job,
    Progress,
    Succeeded,
    current_job,
)

from .celeryapp import app
from .replicate import Replicate, download, read_prediction

log = logging.getLogger(__name__)


# --- First version: we ask ------------------------------------------------------------------------


@app.task(
    base=ExternalTask,
    labels=("render",),
    timeout=3600,
    poll_interval=1,
    poll_backoff=1.5,
    poll_interval_max=60,
    # Celery's own retries: one that failed is a new attempt, with a new prediction.
    autoretry_for=(ExternalJobFailed,),
    max_retries=3,
    retry_backoff=True,
)
def render_polled(prompt: str) -> None:
    """Start a prediction. Its result, the picture's URL, comes from the poller."""
    current_job.meta["prompt"] = prompt
    with Replicate() as replicate:
        current_job.reference = replicate.create(prompt)


@render_polled.poller
def ask_provider(jobs: Sequence[Job]) -> Iterator[tuple[Job, Succeeded | Failed | Progress | None]]:
    """Called with all that are due, a hundred at a time; between the calls nothing runs."""
    with Replicate() as replicate:
        for job in jobs:
            try:
                prediction = replicate.get(str(job.reference))
            except httpx.HTTPError as error:
                # The others are asked for all the same, and this one again next time.
                log.warning("prediction of job %s: %s", job.id, error)
            else:
                yield job, read_prediction(prediction)


# --- The same, by a webhook -----------------------------------------------------------------------


@app.task(
    base=ExternalTask,
    labels=("render",),
    timeout=3600,
    autoretry_for=(ExternalJobFailed,),
    max_retries=3,
    retry_backoff=True,
)
def render_told(prompt: str) -> None:
    """Start a prediction. Its result comes to the receiver in web.py."""
    current_job.meta["prompt"] = prompt
    webhook = f"{app.conf.external_base_url}/providers/replicate"
    with Replicate() as replicate:
        current_job.reference = replicate.create(prompt, webhook=webhook)


# --- What follows ---------------------------------------------------------------------------------


@app.task
def make_thumbnail(url: str) -> dict[str, str]:
    """Fetch the picture, which the provider keeps for an hour only, and make a small one."""
    name = uuid4().hex
    picture, thumbnail = Path(f"{name}.svg"), Path(f"{name}-small.svg")
    picture.write_bytes(download(url))
    thumbnail.write_text(
        picture.read_text("utf-8").replace("<svg ", '<svg width="64" ', 1), "utf-8"
    )
    return {"picture": str(picture), "thumbnail": str(thumbnail)}


@app.task
def publish(files: dict[str, str], title: str) -> str:
    """Write the picture's page."""
    page = Path(files["picture"]).with_suffix(".html")
    images = "".join(f'<img src="{name}" alt="">' for name in files.values())
    page.write_text(f"<h1>{html.escape(title)}</h1>{images}", "utf-8")
    return str(page)


def order(
    prompt: str, customer: str, render: ExternalTask[[str], str] = render_told
) -> AsyncResult[Any]:
    """Have a picture rendered and published."""
    first = render.s(prompt).set(labels=[f"customer:{customer}"])  # type: ignore[call-arg]
    return chain(first, make_thumbnail.s(), publish.s(prompt)).apply_async()
