"""``python -m examples.gpu_render``: three pictures by a poller, three by webhooks, all checked."""

from __future__ import annotations

import base64
import os
import secrets
import sys
from pathlib import Path

import httpx

from examples.stage import Stage, check, play

#: Of each customer: what is rendered, by a poller and by a webhook.
PROMPTS = {"zoo": ["a cat", "an unlucky dog"], "garage": ["a car"]}
#: Who completes which task's jobs.
BY = {"render_polled": "poller", "render_told": "replicate"}


def main() -> int:
    """Start everything, render, look at it, stop everything."""
    with play("gpu_render") as stage:
        secret = base64.b64encode(secrets.token_bytes(32)).decode()
        replicate_url, web_url = stage.reserve("replicate"), stage.reserve("web")
        os.environ.update(
            REPLICATE_API_URL=replicate_url,
            REPLICATE_FILES_URL=f"{replicate_url}/files",
            REPLICATE_VERSION="the stand-in's",
            REPLICATE_API_TOKEN=secrets.token_urlsafe(),
            REPLICATE_WEBHOOK_SECRET=f"whsec_{secret}",
            EXTERNAL_BASE_URL=f"{web_url}/external",
        )
        stage.serve("replicate", "examples.gpu_render.fake_replicate:create_app()")
        stage.serve("web", "examples.gpu_render.web:create_app()")
        stage.start_celery("examples.gpu_render.celeryapp")
        render_all(stage)
    return 0


def render_all(stage: Stage) -> None:
    """Have the pictures rendered, and look at the jobs meanwhile."""
    # Only now: the app reads the environment.
    from celery_external import get_job  # noqa: PLC0415

    from .celeryapp import app  # noqa: PLC0415
    from .jobs import list_jobs  # noqa: PLC0415
    from .tasks import order, render_polled, render_told  # noqa: PLC0415

    orders = [
        (prompt, order(prompt, customer, render))
        for customer, prompts in PROMPTS.items()
        for prompt in prompts
        for render in (render_polled, render_told)
    ]
    stage.wait(lambda: len([*list_jobs("PARKED", "render")]) == len(orders), "all to be parked")
    print("Parked for the zoo, and no worker is held:")
    parked = [*list_jobs("PARKED", "render", "customer:zoo")]
    print(*parked, sep="\n")
    check(len(parked) == 4, "four of the zoo's")

    # The stand-in's GPUs have been waiting for this.
    token = f"Bearer {os.environ['REPLICATE_API_TOKEN']}"
    boot = f"{os.environ['REPLICATE_API_URL']}/v1/boot"
    httpx.post(boot, headers={"Authorization": token}).raise_for_status()

    stage.wait(lambda: all(result.ready() for _, result in orders), "all to be published")
    for prompt, result in orders:
        page = Path(result.get())
        check(prompt in page.read_text("utf-8"), f"a page of {prompt}")
        job = get_job(str(result.as_list()[-1]), app=app)
        attempts = 2 if "unlucky" in prompt else 1
        check(job.attempt == attempts, f"{prompt} to be rendered {attempts} times")
        task = job.task.rpartition(".")[2]
        check(job.completed_by == BY[task], f"{task} to be completed by {BY[task]}")
        print(f"published: {prompt}, by {job.completed_by}, attempt {job.attempt}")


if __name__ == "__main__":
    sys.exit(main())
