"""A process of its own that calls when the test says go.

``python -m tests.races.caller START signal RESULT FILE`` signals the jobs whose ids stand in a
file, and notes what it was told; ``START apply FILE`` starts jobs under those ids.
"""

from __future__ import annotations

import sys

from celery_external import JobAlreadyCompletedError, get_external
from tests.apps import ends
from tests.waiting import wait_for


def signal(result: str, file: str) -> None:
    """Signal all of them, with a result that tells who won."""
    external = get_external(ends.app)
    for job_id in ends.lines(file):
        try:
            told = external.signal_succeeded(job_id, result).status
        except JobAlreadyCompletedError:
            told = "refused"
        ends.write_line(f"told-{file}", f"{job_id} {told} {result}")


def apply(file: str) -> None:
    """Start jobs, whether there are some by those ids or not."""
    for job_id in ends.lines(file):
        ends.act.apply_async(kwargs={"name": job_id, "plan": {}}, task_id=job_id)


def main() -> None:
    """Say that it is ready, wait, and do what the command says."""
    start, command, *arguments = sys.argv[1:]
    # Connect before the start, so that all are equally fast.
    get_external(ends.app).find_jobs(limit=1)
    print("ready", flush=True)  # noqa: T201 - what the test waits for
    wait_for((ends.SCRATCH / f"go-{start}").exists, what="the start")
    if command == "signal":
        signal(*arguments)
    else:
        apply(*arguments)


if __name__ == "__main__":
    main()
