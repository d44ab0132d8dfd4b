"""A process that completes parked jobs, against others: ``python -m tests.soak.signaller SEED``."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterable
from random import Random
from uuid import uuid4

from celery_external import DatabaseUnavailableError, Job, get_external
from tests.soak.app import app
from tests.soak.kinds import TIMED
from tests.soak.voice import Voice

REST = 0.1
#: How many jobs are looked at in one go.
MANY = 60


def main(seed: str) -> None:
    """Signal until SIGTERM."""
    over = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: over.set())
    rng = Random(seed)  # noqa: S311 - the soak is to be repeatable, not secret
    external = get_external(app)
    voice = Voice(f"signaller-{uuid4().hex[:8]}", rng)
    while not over.wait(REST):
        try:
            parked = external.find_jobs(state="PARKED", order="parked", limit=MANY)
        except DatabaseUnavailableError:
            continue
        speak_of(parked, voice, rng, over)


def speak_of(parked: Iterable[Job], voice: Voice, rng: Random, over: threading.Event) -> None:
    """Say something about most of them; all signallers see the same jobs in the same order."""
    jobs = [job for job in parked if is_chosen(job, rng)]
    if rng.random() < 0.2:
        voice.speak_of_many(jobs[:10])
        del jobs[:10]
    for job in jobs:
        if over.is_set():
            return
        # Without its attempt a word counts for the open one, whichever that is by now.
        voice.speak(job.id, job.attempt if rng.random() < 0.7 else None)


def is_chosen(job: Job, rng: Random) -> bool:
    """Not all, and few of those that time is to end."""
    return rng.random() < (0.05 if job.task in TIMED else 0.6)


if __name__ == "__main__":
    main(sys.argv[1])
