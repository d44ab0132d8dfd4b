"""Celery Signal objects of this package; connect to them as to Celery's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.utils.dispatch import Signal

if TYPE_CHECKING:
    from celery import Celery

#: A trigger ended and its job waits. Sent on the worker; sender: the task; ``job_id``.
job_parked = Signal(name="job_parked", providing_args=["job_id"])

#: An outcome was recorded. Sent where the signal was made; sender: the app; ``job_id``, ``task``
#: (its name), ``attempt``, ``kind`` (succeeded, failed, cancelled, continued, timed_out, lost),
#: ``waited`` (seconds from the park, by the database's clock; None: it had not parked).
job_completed = Signal(
    name="job_completed", providing_args=["job_id", "task", "attempt", "kind", "waited"]
)

#: A signal was refused. Sender: the app; ``job`` (the Job as it stands), ``error``.
signal_refused = Signal(name="signal_refused", providing_args=["job", "error"])

#: A sweep has ended. Sent where it ran; sender: the app; ``due`` (how many jobs it looked at),
#: ``seconds`` (how long it took).
sweep_ended = Signal(name="sweep_ended", providing_args=["due", "seconds"])


def send_completed(app: Celery, row: Mapping[str, Any]) -> None:
    """Send ``job_completed`` for the outcome that a row shows."""
    if not job_completed.receivers:
        return
    parked_at = row["parked_at"]
    job_completed.send(
        app,
        job_id=row["id"],
        task=row["task"],
        attempt=row["attempt"],
        kind=row["kind"],
        waited=(row["completed_at"] - parked_at).total_seconds() if parked_at else None,
    )
