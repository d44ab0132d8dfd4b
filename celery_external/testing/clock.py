"""Time that passes in a test: the jobs' times move back, and the sweep finds what is due."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from kombu.utils import json

from celery_external.errors import OptionError
from celery_external.message import OPTIONS_HEADER
from celery_external.store import shift as store

if TYPE_CHECKING:
    from celery_external.installation import Installation
    from celery_external.job import Job
    from celery_external.store.database import Transaction

#: What a job's deadline is past by, so that no rounding keeps it open (seconds).
_PAST = 1.0


def shift(installation: Installation, seconds: float) -> None:
    """Have so much time pass for all jobs, in one transaction."""
    with installation.database.transaction() as tx:
        _shift(tx, installation.namespace, None, seconds)


def pass_deadline(installation: Installation, job: Job) -> None:
    """Have the time pass for one job that is left until its deadline.

    Raises:
        OptionError: It has none, or is not open any more.
    """
    if not job.is_open:
        raise OptionError("job", f"{job.id} is {job.state} and cannot expire")
    if job.deadline is None:
        raise OptionError(
            "job",
            f"{job.id} is {job.state} and has no deadline: a timeout= counts from the park, and "
            "for a heartbeat_timeout= there is shift()",
        )
    with installation.database.transaction() as tx:
        left = (job.deadline - store.read_clock(tx)).total_seconds() + _PAST
        _shift(tx, installation.namespace, job.id, max(left, 0.0))


def _shift(tx: Transaction, namespace: str, job_id: str | None, seconds: float) -> None:
    store.move_back(tx, namespace, job_id, seconds)
    for row in store.read_envelopes(tx, namespace, job_id):
        moved = _move_deadline(row["envelope"], seconds)
        if moved is not None:
            store.write_envelope(tx, namespace, row["id"], moved)


def _move_deadline(envelope: str, seconds: float) -> str | None:
    """The envelope with the call's ``deadline=`` moved as well; None: it carries none."""
    kept = json.loads(envelope)
    options = kept["headers"].get(OPTIONS_HEADER) or {}
    if not options.get("deadline"):
        return None
    earlier = datetime.fromisoformat(options["deadline"]) - timedelta(seconds=seconds)
    options["deadline"] = earlier.isoformat()
    return json.dumps(kept)
