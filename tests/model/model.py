"""DESIGN.md's table of states and events in plain Python: what a job must look like.

Written from DESIGN.md and docs/states.md, not from the package, and without looking at it.
"""

from __future__ import annotations  # noqa: I001 - names that fit on three lines

import itertools
from typing import Any

from tests.model.values import (
    ANSWERS, EXPIRED, GONE, GRACE, LEASE, LONGEST_WAIT, LOST, MAX_SENDS, NO_HEARTBEAT,
    NOT_STARTED, OVER, OWN_ENDS, OWN_ERROR, PARKING, PAST_DEADLINE, PENDING_GRACE, PUBLISHING,
    RAISED, STATES, TELLING, TIMEOUT, TRIGGER, TRIGGER_TIMEOUT, Call, Delivery, Job, earliest,
)  # fmt: skip


class Model:
    """All jobs, and the events of the table."""

    def __init__(self) -> None:
        self.now = 0.0
        self.jobs: list[Job] = []
        self._numbers = itertools.count(1)

    def passed(self, moment: float | None) -> bool:
        """Whether a time is over."""
        return moment is not None and moment <= self.now

    # --- A caller ---

    def start(self, call: Call, *, expires: float | None, countdown: float) -> Job:
        """``apply_async``."""
        job = Job(call, deadline=call.deadline)
        job.expires = None if expires is None else self.now + expires
        job.due = self.now + countdown + PENDING_GRACE
        job.wake = earliest(job.due, job.expires, job.deadline)
        job.send()
        self.jobs.append(job)
        return job

    def come_back(self, job: Job) -> None:
        """``apply_async`` of the id by the last step of the canvas that replaced the job."""
        if (job.answer or job.kind) == "continued":
            self._next_attempt(job, "PENDING", "continued", Call(linked=False))

    def signal(self, job: Job, attempt: int | None, kind: str, **said: Any) -> Any:
        """A signal or a cancellation: what the caller is told."""
        early = not job.parked
        if attempt not in {None, job.attempt}:
            return self._refuse(job, "StaleAttemptError", attempt)
        if job.kind is None:
            running = job.started and not job.parked
            self._decide(job, kind, wake=GRACE, **said)
            if not running:
                job.send()
            return "applied", early, not running
        same_words = all(getattr(job, name) == said.get(name) for name in ("result", "reason"))
        if job.kind == kind and (kind == "cancelled" or (same_words and job.raises is None)):
            return "duplicate", early, False
        return self._refuse(job, "JobAlreadyCompletedError")

    def _refuse(self, job: Job, error: str, attempt: int | None = None) -> str:
        job.history.append(("refused", attempt or job.attempt))
        return error

    def _must_be_open(self, job: Job, attempt: int | None) -> str | None:
        if attempt not in {None, job.attempt}:
            return self._refuse(job, "StaleAttemptError", attempt)
        return None if job.kind is None else self._refuse(job, "JobAlreadyCompletedError")

    def progress(self, job: Job, attempt: int | None) -> str | None:
        """A sign of life."""
        refused = self._must_be_open(job, attempt)
        if refused is None and job.state == "PARKED":
            job.due = None if job.call.heartbeat is None else self.now + job.call.heartbeat
            job.wake = earliest(job.deadline, job.due)
        return refused

    def extend(self, job: Job, attempt: int | None, seconds: float) -> str | None:
        """Another deadline."""
        refused = self._must_be_open(job, attempt)
        if refused is None:
            job.deadline = self.now + seconds
            until = job.expires if job.state in NOT_STARTED else None
            job.wake = earliest(job.deadline, job.due, until)
            job.history.append(("extended", job.attempt))
        return refused

    def rerun(self, job: Job) -> str | None:
        """The trigger once more."""
        if job.state not in {"PARKED", "FAILURE", "REVOKED"}:
            return "RerunRefusedError"
        ahead = None if self.passed(job.call.deadline) else job.call.deadline
        self._next_attempt(job, "PENDING", "rerun", job.call, deadline=ahead)
        return None

    # --- What happens to a row ---

    def _decide(  # noqa: PLR0917 - the columns of an outcome
        self,
        job: Job,
        kind: str,
        wake: float,
        claim: Delivery | None = None,
        result: Any = None,
        reason: str | None = None,
        raises: str | None = None,
        by: str | None = None,
    ) -> None:
        job.kind, job.state, job.completed = kind, STATES[kind], self.now
        job.result, job.reason, job.raises, job.by = result, reason, raises, by
        job.claim, job.sends, job.wake = claim, 0, self.now + wake
        job.history.append((kind, job.attempt))

    def _next_attempt(
        self, job: Job, state: str, event: str, call: Call, *, deadline: float | None = None
    ) -> None:
        job.attempt += 1
        job.state, job.call, job.sends, job.claim = state, call, 0, None
        job.kind = job.answer = job.result = job.reason = job.raises = job.by = None
        job.reference = job.completed = job.expires = None
        job.started = job.parked = False
        job.deadline, job.due = deadline, self.now + PENDING_GRACE
        job.wake = earliest(job.due, deadline)
        job.history.append((event, job.attempt))
        job.send()

    # --- Time ---

    def moments(self) -> list[float]:
        """All times that mean something, in order."""
        return sorted(
            moment
            for job in self.jobs
            for moment in (job.wake, job.due, job.deadline, job.expires, job.call.deadline)
            if moment is not None
        )

    def sweep(self) -> int:
        """Everything that is due; how many rows that was."""
        due = [job for job in self.jobs if self.passed(job.wake)]
        for job in due:
            end = self._end_of(job)
            if end is not None:
                self._decide(job, end[0], wake=GRACE, reason=end[1])
                job.send()
            else:
                self._repeat(job)
        return len(due)

    def _end_of(self, job: Job) -> tuple[str, str] | None:
        if job.kind is not None:
            return None
        if job.state in NOT_STARTED:
            return self._overdue(job)
        if self.passed(job.deadline):
            return "timed_out", PAST_DEADLINE
        return ("lost", LOST) if job.state == "STARTED" else ("timed_out", NO_HEARTBEAT)

    def _overdue(self, job: Job) -> tuple[str, str] | None:
        """How a job ends that was not started in time: by what was over first."""
        first = earliest(job.expires, job.deadline)
        if not self.passed(first):
            return None
        return ("timed_out", PAST_DEADLINE) if first == job.deadline else ("cancelled", EXPIRED)

    def _repeat(self, job: Job) -> None:
        wait = None
        if job.kind is not None:
            wait = min(GRACE * 4.0 ** (job.sends + 1), LONGEST_WAIT)
        elif job.sends < MAX_SENDS:
            wait = min(PENDING_GRACE * 4.0 ** (job.sends + 1), LONGEST_WAIT)
        job.sends, job.claim = job.sends + 1, None
        job.due = None if wait is None else self.now + wait
        job.wake = job.due if job.kind else earliest(job.due, job.deadline, job.expires)
        if wait is not None:
            job.send()

    # --- A worker: what its delivery does next ---

    def deliver(self, job: Job, attempt: int, *, redelivered: bool, revoked: bool) -> Delivery:
        """A message of the job is taken."""
        made = Delivery(next(self._numbers), job, attempt, redelivered, job.call)
        if revoked and job.kind is None:
            self.signal(job, attempt, "cancelled", reason="Revoked")
        if attempt != job.attempt:
            return made
        if job.kind is None and job.state in NOT_STARTED and (end := self._overdue(job)):
            self._decide(job, end[0], wake=GRACE, reason=end[1])
        if job.kind is not None:
            self._claim(made)
        elif job.state in NOT_STARTED or (job.state == "STARTED" and redelivered):
            job.state, job.claim, job.sends, job.started = "STARTED", made, 0, True
            job.due = self.now + TRIGGER_TIMEOUT
            job.wake = earliest(job.due, job.deadline)
            made.at = TRIGGER
        return made

    def _claim(self, delivery: Delivery) -> None:
        """Hand the outcome on, where nobody else does."""
        job = delivery.job
        delivery.at = OVER
        is_free = job.claim is None or self.passed(job.wake)
        if job.attempt == delivery.attempt and job.owed and is_free:
            job.claim, job.wake = delivery, self.now + LEASE
            delivery.look()
            self._hand_on(delivery)

    def _hand_on(self, delivery: Delivery) -> None:
        kind = delivery.kind or ""
        delivery.says = delivery.raises or RAISED.get(kind)
        if kind == "timed_out" and delivery.at != TIMEOUT:
            delivery.at = TIMEOUT
        elif kind == "continued":
            delivery.at, delivery.then = PUBLISHING, delivery.result
        elif kind == "succeeded":
            delivery.says, delivery.then = delivery.result, "link"
            delivery.at = PUBLISHING
            if not delivery.call.linked:
                delivery.at, delivery.then = TELLING, "SUCCESS"
        elif self._is_retried(delivery):
            delivery.at, delivery.then = PUBLISHING, "autoretry"
        else:
            delivery.at, delivery.then = TELLING, "FAILURE"

    def _is_retried(self, delivery: Delivery) -> bool:
        """Whether ``autoretry_for=(ExternalJobFailed,)`` applies."""
        is_external_failure = delivery.raises is None and delivery.kind != "cancelled"
        may = delivery.call.retried and delivery.call.may_retry
        return may and is_external_failure and not delivery.is_too_late

    def end_trigger(self, delivery: Delivery, how: str) -> None:
        """``run`` returns, raises, retries or replaces."""
        may_retry = delivery.call.may_retry
        if how in {"retry", "retry_quietly"} and may_retry:
            delivery.at, delivery.then = PUBLISHING, how
        elif how == "return" and delivery.is_running():
            delivery.at = PARKING
        elif how == "return" or not delivery.is_running():
            self._claim(delivery)
        else:
            self._end_own(delivery, "raise" if how.startswith("retry") else how)

    def _end_own(self, delivery: Delivery, how: str) -> None:
        kind, said = OWN_ENDS[how]
        self._decide(delivery.job, kind, wake=LEASE, claim=delivery, **said)
        if how in {"ignore", "reject"}:
            self._settle(delivery)
        else:
            delivery.look()
            self._hand_on(delivery)

    def answer(self, delivery: Delivery, how: str) -> None:
        """``on_timeout`` says what a timeout means."""
        job = delivery.job
        if how in ANSWERS:
            if not delivery.has_claim() or job.answer is not None:
                delivery.at = OVER
                return
            job.answer, job.result, job.raises = ANSWERS[how]
            job.state = STATES[job.answer]
            job.history.append(("timeout_answered", job.attempt))
            delivery.look()
        self._hand_on(delivery)

    def carry_on(self, delivery: Delivery) -> None:
        """Park, or publish what was about to be published."""
        job = delivery.job
        if delivery.at == PARKING:
            if delivery.is_running():
                self._park(delivery)
            else:
                self._claim(delivery)
        elif delivery.then == "link":
            job.went_on.append("link")
            delivery.at, delivery.then = TELLING, "SUCCESS"
        elif delivery.then == "step":
            job.went_on.append("step")
            self._settle(delivery)
        else:
            self._begin_next(delivery)

    def _park(self, delivery: Delivery) -> None:
        job, call = delivery.job, delivery.call
        job.state, job.claim, job.sends, job.parked = "PARKED", None, 0, True
        if job.deadline == call.deadline and call.timeout is not None:
            job.deadline = earliest(job.deadline, self.now + call.timeout)
        job.due = None if call.heartbeat is None else self.now + call.heartbeat
        job.wake = earliest(job.deadline, job.due)
        delivery.at = OVER

    def _begin_next(self, delivery: Delivery) -> None:
        job, call = delivery.job, delivery.call
        if delivery.then == "replace":
            if delivery.has_claim():
                self._next_attempt(job, "PENDING", "replaced", Call(linked=call.linked))
        elif delivery.has_claim():
            following = Call(**{**vars(call), "retries": call.retries + 1})
            self._next_attempt(job, "RETRY", "retried", following, deadline=call.deadline)
        elif delivery.then != "autoretry":
            self._claim(delivery)
            return
        delivery.at = OVER

    def tell(self, delivery: Delivery, how: str) -> None:
        """Celery is told, or cannot be told, or the next step's serializer refuses the result."""
        job = delivery.job
        if how == "told":
            job.told.append((delivery.then, delivery.says))
            self._settle(delivery)
        elif how == "refused" and delivery.then == "SUCCESS" and delivery.has_claim():
            job.kind, job.state, job.answer, job.result = "failed", "FAILURE", None, None
            job.raises = delivery.says = OWN_ERROR
            job.history.append(("undeliverable", job.attempt))
            delivery.then = "FAILURE"
        else:
            if delivery.has_claim():
                wait = min(GRACE * 4.0**delivery.sends, LONGEST_WAIT)
                job.claim, job.wake = None, self.now + wait
            delivery.at = OVER

    def _settle(self, delivery: Delivery) -> None:
        if delivery.has_claim():
            delivery.job.claim = delivery.job.wake = None
        delivery.at = OVER

    def lose(self, delivery: Delivery) -> None:
        """The process of a delivery is gone, and its main process knows."""
        job = delivery.job
        if job.attempt == delivery.attempt and job.state == "STARTED" and job.kind is None:
            self._decide(job, "lost", wake=GRACE, reason=GONE)
            job.send()
