"""Celery Signal objects of this package; connect to them as to Celery's own."""

from __future__ import annotations

from celery.utils.dispatch import Signal

#: A trigger ended and its job waits. Sent on the worker; sender: the task; ``job_id``.
job_parked = Signal(name="job_parked", providing_args=["job_id"])

#: An outcome was recorded. Sent where the signal was made; sender: the app; ``job_id``,
#: ``attempt``, ``kind`` (succeeded, failed, cancelled, timed_out, lost).
job_completed = Signal(name="job_completed", providing_args=["job_id", "attempt", "kind"])

#: A signal was refused. Sender: the app; ``job`` (the Job as it stands), ``error``.
signal_refused = Signal(name="signal_refused", providing_args=["job", "error"])
