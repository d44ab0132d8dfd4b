"""``python -m examples.workerless``: the four endings of a step, each checked.

Approved and continued with another step; declined with an output; timed out by itself; completed
while its trigger still runs.
"""

from __future__ import annotations

import sys
from functools import partial

from examples import stage
from examples.stage import check


def main() -> int:
    """Start a broker, a worker and beat; play the four endings."""
    with stage.play("workerless") as scene:
        scene.start_celery("examples.workerless.desk")
        play(scene)
    return 0


def play(scene: stage.Stage) -> None:
    """The four endings."""
    # Imported here: the app reads the broker from the environment.
    from celery_external import get_job, signal_succeeded  # noqa: PLC0415

    from . import desk  # noqa: PLC0415

    desk.Base.metadata.create_all(desk.engine)

    def is_in(state: str, job_id: str) -> bool:
        return get_job(job_id, app=desk.app).state == state

    approved, declined = desk.await_approval.delay("A mug"), desk.await_approval.delay("A hat")
    forgotten = desk.await_approval.apply_async(("A sock",), timeout=2)
    running = desk.improve.delay("A poem")
    for job in (approved, declined, forgotten):
        scene.wait(partial(is_in, "PARKED", job.id), "the drafts to wait")

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

    scene.wait(partial(is_in, "STARTED", running.id), "the trigger to run")
    receipt = signal_succeeded(running, "good as it is", by="alice", app=desk.app)
    check(receipt.early, "the signal to come while the trigger runs")
    check(running.get(timeout=30) == "good as it is", "the trigger's failure to change nothing")
    print("completed while it ran:", running.get())

    with desk.engine.connect() as connection:
        rows = connection.exec_driver_sql("SELECT editor, verdict FROM decision").fetchall()
    check(sorted(map(tuple, rows)) == [("alice", "approved"), ("bob", "declined")], "two rows")


if __name__ == "__main__":
    sys.exit(main())
