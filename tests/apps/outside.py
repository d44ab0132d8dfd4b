"""Tasks whose outside system has an id of its own for the work, and may answer at any time."""

from __future__ import annotations

import os
from functools import partial

from celery_external import ExternalTask, Failed, Job, Succeeded, current_job
from tests.apps.making import make_app
from tests.apps.scratch import Scratch
from tests.waiting import wait_for

app = make_app("outside")

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)
scratch = Scratch(os.environ.get("SCRATCH", "."))


@task(base=ExternalTask)
def order(reference: str) -> str:
    """The outside system knows the work before this job carries its reference."""
    scratch.write_line("ordered", reference)
    scratch.wait_for_file(f"go-{reference}")
    current_job.reference = reference
    return current_job.callback_url("decide")


@task(base=ExternalTask)
def pay(reference: str) -> None:
    """A payment, which is given back if it comes too late."""
    current_job.reference = reference


def note_refund(job: Job, outcome: Succeeded | Failed) -> None:
    """Say for which attempt's reference."""
    said = (job.id, job.attempt, job.reference, job.kind, repr(outcome))
    scratch.write_line("refunds", " ".join(map(str, said)))


@pay.late_signal  # type: ignore[untyped-decorator]
def refund(job: Job, outcome: Succeeded | Failed) -> None:
    """Fail for the first time, or wait, where the test wants it."""
    note_refund(job, outcome)
    wait_for(lambda: not (scratch.path / "hang-refund").exists(), what="hang-refund to go")
    if (scratch.path / "fail-refund").exists():
        (scratch.path / "fail-refund").unlink()
        raise RuntimeError("the bank is closed")


class PayByClass(ExternalTask):
    """The same, class-based."""

    name = "tests.apps.outside.pay_by_class"

    def run(self, reference: str) -> None:
        """Park."""
        self.job.reference = reference

    def on_late_signal(self, job: Job, outcome: Succeeded | Failed) -> None:
        """Note it."""
        note_refund(job, outcome)


pay_by_class = app.register_task(PayByClass())
