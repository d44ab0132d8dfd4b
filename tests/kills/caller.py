"""A process that starts, signals, cancels or reruns jobs: ``python -m tests.kills.caller``."""

from __future__ import annotations

import sys

from celery_external import Succeeded, get_external
from tests.apps.core import app, ask


def main(action: str, *job_ids: str) -> None:
    """Do one thing to the jobs."""
    external = get_external(app)
    first = job_ids[0]
    if action == "start":
        ask.apply_async(task_id=first)
    elif action == "succeed":
        external.signal_succeeded(first, action)
    elif action == "fail":
        external.signal_failed(first, action)
    elif action == "cancel":
        external.cancel_job(first)
    elif action == "rerun":
        external.rerun_job(first)
    elif action == "succeed_many":
        external.signal_many([(job_id, Succeeded(action)) for job_id in job_ids])


if __name__ == "__main__":
    main(*sys.argv[1:])
