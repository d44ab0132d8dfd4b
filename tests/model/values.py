"""The model's jobs, their messages and deliveries, in plain Python."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

#: Seconds, as the settings of the package have them by default.
GRACE, LEASE, PENDING_GRACE, TRIGGER_TIMEOUT = 60, 300, 3600, 3600
LONGEST_WAIT = 4 * 3600
MAX_SENDS = 3
MAX_RETRIES = 2

# Where a delivery stands.
TRIGGER, PARKING, TIMEOUT = "in the trigger", "before the park", "in on_timeout"
PUBLISHING, TELLING, OVER = "before a publish", "before Celery is told", "over"

STATES = {
    "succeeded": "SUCCESS",
    "continued": "SUCCESS",
    "failed": "FAILURE",
    "timed_out": "FAILURE",
    "lost": "FAILURE",
    "cancelled": "REVOKED",
}
RAISED = {
    "failed": "ExternalJobFailed",
    "timed_out": "ExternalJobTimedOut",
    "lost": "TriggerLostError",
    "cancelled": "ExternalJobCancelled",
}
NOT_STARTED = ("PENDING", "RETRY")
PAST_DEADLINE = "The deadline has passed"
EXPIRED = "Expired before it was started"
NO_HEARTBEAT = "No sign of life within the heartbeat timeout"
GONE = "The process that ran the trigger is gone: killed"
#: For an error that is none of the package's.
OWN_ERROR = "its own"
LOST = "The trigger did not end within its trigger timeout"

#: How a trigger ends its own job, and how `on_timeout` answers: kind, result, error.
OWN_ENDS: dict[str, tuple[str, dict[str, Any]]] = {
    "succeed": ("succeeded", {"result": 7}),
    "fail": ("failed", {"reason": "own"}),
    "raise": ("failed", {"raises": OWN_ERROR}),
    "ignore": ("cancelled", {"reason": "The trigger raised Ignore"}),
    "reject": ("failed", {"reason": "Rejected"}),
    "replace": ("continued", {"result": "replace"}),
    "step": ("continued", {"result": "step"}),
}
ANSWERS: dict[str, tuple[str, Any, str | None]] = {
    "answer": ("succeeded", "late", None),
    "raise": ("failed", None, OWN_ERROR),
    "replace": ("continued", "replace", None),
    "step": ("continued", "step", None),
}


def earliest(*moments: float | None) -> float | None:
    """The first of some times, where None is never."""
    return min((moment for moment in moments if moment is not None), default=None)


@dataclass(frozen=True)
class Call:
    """What a message says: the options of its call, and how often it was retried."""

    retried: bool = False
    timeout: float | None = None
    heartbeat: float | None = None
    deadline: float | None = None
    retries: int = 0
    linked: bool = True

    @property
    def may_retry(self) -> bool:
        """Whether its task may be retried once more."""
        return self.retries < MAX_RETRIES


@dataclass(eq=False)
class Job:
    """A job, times in seconds of the model's clock."""

    call: Call
    state: str = "PENDING"
    attempt: int = 1
    sends: int = 0
    claim: Delivery | None = None
    kind: str | None = None
    answer: str | None = None
    result: Any = None
    reason: str | None = None
    raises: str | None = None
    by: str | None = None
    reference: str | None = None
    due: float | None = None
    deadline: float | None = None
    expires: float | None = None
    wake: float | None = None
    completed: float | None = None
    started: bool = False
    parked: bool = False
    history: list[tuple[str, int]] = field(default_factory=list)
    #: Messages of the job by attempt; of the steps after it; and what the result backend was told.
    sent: Counter[int] = field(default_factory=Counter)
    went_on: list[str] = field(default_factory=list)
    told: list[tuple[str, Any]] = field(default_factory=list)

    @property
    def owed(self) -> bool:
        """Whether an outcome is on its way to Celery."""
        return self.kind is not None and self.wake is not None

    @property
    def settled(self) -> bool:
        """Whether nothing is left to do."""
        return self.kind is not None and self.wake is None

    def send(self) -> None:
        """Send the job's own message."""
        self.sent[self.attempt] += 1


@dataclass(eq=False)
class Delivery:
    """A delivery of a job's message, and where it stands."""

    number: int
    job: Job
    attempt: int
    redelivered: bool
    call: Call
    at: str = OVER
    #: What is published next, or what Celery is told next, and in which words.
    then: str = ""
    says: Any = None
    #: The outcome that it hands on, as it found it; the job may have moved on meanwhile.
    kind: str | None = None
    result: Any = None
    raises: str | None = None
    is_too_late: bool = False
    sends: int = 0
    dead: bool = False

    def look(self) -> None:
        """See the outcome in the row."""
        job, deadline = self.job, self.call.deadline
        self.kind, self.result, self.raises = job.answer or job.kind, job.result, job.raises
        self.sends = job.sends
        is_past = deadline is not None and job.completed is not None and deadline <= job.completed
        self.is_too_late = job.kind == "timed_out" and is_past

    def has_claim(self) -> bool:
        """Whether the row is still this delivery's."""
        return self.job.claim is self and self.job.attempt == self.attempt

    def is_running(self) -> bool:
        """Whether it runs the trigger, and nobody has spoken meanwhile."""
        return self.has_claim() and self.job.state == "STARTED" and self.job.kind is None
