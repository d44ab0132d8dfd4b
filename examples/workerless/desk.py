"""The editor's desk: decides about drafts in one transaction with its own table."""

from __future__ import annotations

import os
import time

from celery import Celery
from sqlalchemy import create_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, Session, mapped_column

from celery_external import ExternalTask, JobAlreadyCompletedError, current_job, lock_job

URL = os.environ.get("DATABASE_URL", "sqlite:///desk.db")
#: The broker is given in the environment: CELERY_BROKER_URL and CELERY_RESULT_BACKEND.
app = Celery("desk")
app.conf.external_database_url = URL
app.conf.external_sweep_interval = 0.5
engine = create_engine(URL)


class Base(DeclarativeBase):
    """The desk's own tables, in the same database as the jobs."""


class Decision(Base):
    """What was decided, and by whom."""

    __tablename__ = "decision"
    job_id: Mapped[str] = mapped_column(primary_key=True)
    editor: Mapped[str]
    verdict: Mapped[str]


@app.task(base=ExternalTask, timeout_result={"declined": "nobody answered"})
def await_approval(draft: str) -> None:
    """Wait for an editor. The trigger only says what it waits for."""
    current_job.meta["draft"] = draft


@app.task(base=ExternalTask)
def improve(draft: str) -> None:
    """A trigger that works for long, and looks now and then whether it still has to."""
    try:
        while True:
            time.sleep(0.2)  # a piece of the work
            current_job.raise_if_completed()
    except JobAlreadyCompletedError as found:
        print(f"improving {draft!r} is over: {found.job.kind}")
        raise


@app.task
def publish(draft: str, editor: str) -> dict[str, str]:
    """What follows an approval."""
    return {"published": draft, "approved by": editor}


def decide(root_id: str, editor: str, *, is_approved: bool) -> str:
    """Approve or decline the draft of a canvas, unless it is past approval already.

    The desk's row and the job's outcome are committed together, or neither is.
    """
    with (
        Session(engine) as session,
        session.begin(),
        lock_job(root_id=root_id, task=await_approval.name, using=session, app=app) as step,
    ):
        if step is None:
            return "left alone"
        verdict = "approved" if is_approved else "declined"
        session.add(Decision(job_id=step.id, editor=editor, verdict=verdict))
        if is_approved:
            step.succeed(continue_with=publish.s(step.meta["draft"], editor), by=editor)
        else:
            step.succeed({"declined": f"by {editor}"}, by=editor)
        return verdict
