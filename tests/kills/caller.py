"""A process that starts, signals, cancels or reruns jobs: ``python -m tests.kills.caller``."""

from __future__ import annotations

import sys

import sqlalchemy as sa
from sqlalchemy.orm import Session

from celery_external import Succeeded, get_external
from tests.apps.core import app, ask


def main(action: str, *job_ids: str) -> None:
    """Do one thing to the jobs."""
    external = get_external(app)
    first = job_ids[0]
    if action == "start":
        ask.apply_async(task_id=first)
    elif action.endswith("_using"):
        do_in_a_transaction(action, first)
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


def do_in_a_transaction(action: str, job_id: str) -> None:
    """In a transaction of the caller's own; its commit sends."""
    engine = sa.create_engine(app.conf.external_database_url)
    with Session(engine) as session:
        if action == "start_using":
            ask.apply_async(task_id=job_id, using=session)
        else:
            get_external(app).signal_succeeded(job_id, action, using=session)
        session.commit()


if __name__ == "__main__":
    main(*sys.argv[1:])
