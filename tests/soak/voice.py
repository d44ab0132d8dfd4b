"""How the outside world speaks in the soak: each word is written down before and after."""

from __future__ import annotations

import time
from collections.abc import Sequence
from random import Random
from typing import Any

from celery_external import (
    DatabaseUnavailableError,
    Job,
    JobAlreadyCompletedError,
    Receipt,
    StaleAttemptError,
    Succeeded,
    get_external,
)
from tests.soak.app import app, notes

#: How much more often a success is said than a failure and a cancellation.
WORDS = {"succeed": 16, "fail": 3, "cancel": 1}


class Voice:
    """One signaller: nothing it says goes unrecorded, unless it is killed while it speaks."""

    def __init__(self, name: str, rng: Random) -> None:
        self._name = name
        self._rng = rng
        self._number = 0
        self._external = get_external(app)

    def speak(self, job_id: str, attempt: int | None) -> None:
        """Say how a job ended; sometimes once more, or the contrary."""
        (word,) = self._rng.choices(list(WORDS), list(WORDS.values()))
        value = f"{self._name} {job_id}"
        self._say(word, job_id, attempt, value)
        again = self._rng.random()
        if again < 0.1:
            self._say(word, job_id, attempt, value)
        elif again < 0.2:
            self._say("fail" if word == "succeed" else "succeed", job_id, attempt, value)

    def speak_of_many(self, jobs: Sequence[Job]) -> None:
        """Say in one call that jobs succeeded."""
        by = self._next_name()
        for job in jobs:
            self._note_said(by, "succeed", job.id, None, f"{by} {job.id}")
        try:
            receipts = self._external.signal_many(
                [(job, Succeeded(f"{by} {job.id}")) for job in jobs], by=by
            )
        except DatabaseUnavailableError:
            for job in jobs:
                self._note_heard(by, job.id, "unavailable")
            time.sleep(0.2)
            return
        for receipt in receipts:
            self._note_receipt(by, receipt)

    def _say(self, word: str, job_id: str, attempt: int | None, value: str) -> None:
        by = self._next_name()
        self._note_said(by, word, job_id, attempt, value)
        try:
            receipt = self._call(word, job_id, value, attempt=attempt, by=by)
        except JobAlreadyCompletedError:
            self._note_heard(by, job_id, "refused")
        except StaleAttemptError:
            self._note_heard(by, job_id, "stale")
        except DatabaseUnavailableError:
            self._note_heard(by, job_id, "unavailable")
            time.sleep(0.2)
        else:
            self._note_receipt(by, receipt)

    def _call(self, word: str, job_id: str, value: str, **options: Any) -> Receipt:
        if word == "succeed":
            return self._external.signal_succeeded(job_id, value, **options)
        if word == "fail":
            return self._external.signal_failed(job_id, value, **options)
        return self._external.cancel_job(job_id, reason=value, **options)

    def _next_name(self) -> str:
        self._number += 1
        return f"{self._name}/{self._number}"

    def _note_said(self, by: str, word: str, job_id: str, attempt: int | None, value: str) -> None:
        notes.write("said", by=by, word=word, job=job_id, attempt=attempt, value=value)

    def _note_heard(self, by: str, job_id: str, status: str, attempt: int | None = None) -> None:
        notes.write("heard", by=by, job=job_id, status=status, attempt=attempt)

    def _note_receipt(self, by: str, receipt: Receipt) -> None:
        status, attempt = receipt.status, receipt.attempt
        if isinstance(receipt.error, DatabaseUnavailableError):
            status = "unavailable"
        self._note_heard(by, receipt.job_id, status, attempt)
