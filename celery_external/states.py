"""The states of a job and the kinds of outcome; pure values, no behaviour."""

from __future__ import annotations

from typing import Final

PENDING: Final = "PENDING"
STARTED: Final = "STARTED"
PARKED: Final = "PARKED"
RETRY: Final = "RETRY"
SUCCESS: Final = "SUCCESS"
FAILURE: Final = "FAILURE"
REVOKED: Final = "REVOKED"

#: The job waits for something: a worker, its trigger, the outside world.
OPEN_STATES: Final = frozenset({PENDING, STARTED, PARKED, RETRY})
#: An outcome is recorded; whether Celery has been told is ``Job.settled``.
TERMINAL_STATES: Final = frozenset({SUCCESS, FAILURE, REVOKED})
ALL_STATES: Final = OPEN_STATES | TERMINAL_STATES
#: All of them in the order of a job's life.
IN_ORDER: Final[tuple[str, ...]] = (PENDING, STARTED, PARKED, RETRY, SUCCESS, FAILURE, REVOKED)
#: In which its message is for a worker to take: the trigger is to run, or the outcome is owed.
TAKES_MESSAGE: Final = ALL_STATES - {STARTED, PARKED}
#: From which the trigger can be run again.
RERUN_STATES: Final = frozenset({PARKED, FAILURE, REVOKED})
#: A job that no worker takes is sent again so often; an owed one is called stuck after as many.
MAX_SENDS: Final = 3

# Kinds of outcome.
SUCCEEDED: Final = "succeeded"
FAILED: Final = "failed"
TIMED_OUT: Final = "timed_out"
LOST: Final = "lost"
CANCELLED: Final = "cancelled"
CONTINUED: Final = "continued"

#: The state a job has once an outcome of this kind is recorded.
STATE_OF_OUTCOME: Final = {
    SUCCEEDED: SUCCESS,
    FAILED: FAILURE,
    TIMED_OUT: FAILURE,
    LOST: FAILURE,
    CANCELLED: REVOKED,
    CONTINUED: SUCCESS,
}
