"""The pipeline of one product: a picture from outside, a person's approval, a page."""

from __future__ import annotations

import os
from pathlib import Path

from celery_external import ExternalJobFailed, ExternalTask, current_job

from . import httpjson, links, pages
from .celeryapp import app
from .products import Product


@app.task(
    base=ExternalTask,
    bind=True,
    labels=("render",),
    timeout=30,
    autoretry_for=(ExternalJobFailed,),
    max_retries=2,
    retry_backoff=1,
)
def render(self: ExternalTask, product: Product) -> None:
    """Ask the render service for a picture. Its webhook brings the result: the picture's path."""
    current_job.meta["title"] = product["title"]
    webhook = links.webhook_url(current_job.id, current_job.attempt)
    order = {"product": product, "webhook": webhook}
    answer = httpjson.post(f"{os.environ['RENDER_URL']}/renders", order)
    self.job.reference = answer["id"]


# A no is an answer, not an accident: `throws` keeps its traceback out of the worker's log.
@app.task(base=ExternalTask, labels=("approval",), timeout=2 * 60 * 60, throws=(ExternalJobFailed,))
def await_approval(picture: str, product: Product) -> None:
    """Put the picture on the reviewers' list. Who approves brings the result: picture and name."""
    current_job.meta["picture"] = picture
    current_job.meta["product"] = product


@app.task
def publish(approval: dict[str, str], product: Product) -> str:
    """Write the product's page, as any task would: no worker was held until here."""
    page = Path("pages", f"{product['slug']}.html")
    picture = Path(approval["picture"]).read_text(encoding="utf-8")
    page.write_text(pages.product_page(product, picture, approval["by"]), encoding="utf-8")
    return str(page)
