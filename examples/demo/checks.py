"""Whether the result backend, the jobs' table and the files all say what they should."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from celery.result import AsyncResult

from celery_external import ExternalJobFailed, ExternalJobTimedOut, Job, get_job

from .celeryapp import app
from .pipeline import Run
from .watch import SLOTS, Watch

DECLINED = {"face-cream", "savings-course"}
TIMED_OUT = {"cough-syrup"}
RENDERED_TWICE = {"copper-kettle"}


def find_problems(watch: Watch, *, decided_by_user: bool) -> list[str]:
    """Everything that is not as it should be, in words; nothing if all is well."""
    problems = [
        f"{run.product['slug']}: {problem}" for run in watch.runs for problem in _check_run(run)
    ]
    if not decided_by_user:
        problems += [
            f"{run.product['slug']}: {problem}"
            for run in watch.runs
            for problem in _check_decision(run)
        ]
    problems += [
        f"{job.id} is left in {job.state}" for job in watch.jobs.values() if not job.settled
    ]
    if watch.most_parked <= SLOTS:
        problems.append(f"only {watch.most_parked} were seen parked at a time")
    if watch.most_held:
        problems.append(f"{watch.most_held} worker slots were held by parked jobs")
    return problems


def _check_run(run: Run) -> Iterator[str]:
    # True of every chain, however its approval came out.
    render = get_job(run.render, app=app)
    yield from _compare("render", render, "SUCCESS")
    if render.completed_by != "render service":
        yield f"render was completed by {render.completed_by}"
    if not Path(str(render.result)).read_text("utf-8").startswith("<svg"):
        yield f"{render.result} is no picture"
    attempts = 2 if run.product["slug"] in RENDERED_TWICE else 1
    if render.attempt != attempts:
        yield f"rendered {render.attempt} times, not {attempts}"

    approval = get_job(run.approval, app=app)
    approved = approval.state == "SUCCESS"
    yield from _compare("approval", approval, "SUCCESS" if approved else "FAILURE")
    if run.result.state != ("SUCCESS" if approved else "FAILURE"):
        yield f"approval is {approval.state}, but the chain {run.result.state}"
    page = Path("pages", f"{run.product['slug']}.html")
    if page.exists() != approved:
        yield f"approval is {approval.state}, but the page {'exists' if page.exists() else 'not'}"
    elif approved and "<svg" not in page.read_text("utf-8"):
        yield "the page has no picture"


def _check_decision(run: Run) -> Iterator[str]:
    # What our reviewer does with these products.
    slug = run.product["slug"]
    approval = get_job(run.approval, app=app)
    error = _result_of(run.approval).result
    if slug in TIMED_OUT:
        if (approval.kind, approval.completed_by) != ("timed_out", None):
            yield f"did not time out, but {approval.kind} by {approval.completed_by}"
        if not isinstance(error, ExternalJobTimedOut):
            yield f"the backend has {error!r}, not a timeout"
    elif approval.completed_by != "alice":
        yield f"was decided by {approval.completed_by}"
    if slug in DECLINED and not (
        type(error) is ExternalJobFailed and "we do not promise" in str(error)
    ):
        yield f"the backend has {error!r}, not the reviewer's words"
    should_be_out = slug not in DECLINED | TIMED_OUT
    if (approval.state == "SUCCESS") != should_be_out:
        yield f"approval is {approval.state}"


def _compare(step: str, job: Job, state: str) -> Iterator[str]:
    # The row and the result backend, which are written by different hands.
    backend = _result_of(job.id)
    if (job.state, backend.state) != (state, state):
        yield f"{step} is {job.state} in its row and {backend.state} in the backend, not {state}"
    elif state == "SUCCESS" and job.result != backend.result:
        yield f"{step} has {job.result!r} in its row and {backend.result!r} in the backend"


def _result_of(job_id: str) -> AsyncResult[Any]:
    return AsyncResult(job_id, app=app)
