"""Celery Signal objects of this package; connect to them as to Celery's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.utils.dispatch import Signal

if TYPE_CHECKING:
    from celery import Celery

#: A trigger ended and its job waits. Sent on the worker; sender: the task; ``job_id``.
job_parked = Signal(name="job_parked", providing_args=["job_id"])

#: An outcome was recorded. Sent where the signal was made; sender: the app; ``job_id``,
#: ``attempt``, ``kind`` (succeeded, failed, cancelled, continued, timed_out, lost).
job_completed = Signal(name="job_completed", providing_args=["job_id", "attempt", "kind"])

#: A signal was refused. Sender: the app; ``job`` (the Job as it stands), ``error``.
signal_refused = Signal(name="signal_refused", providing_args=["job", "error"])


def send_completed(app: Celery, row: Mapping[str, Any]) -> None:
    """Send ``job_completed`` for the outcome that a row shows."""
    job_completed.send(app, job_id=row["id"], attempt=row["attempt"], kind=row["kind"])
