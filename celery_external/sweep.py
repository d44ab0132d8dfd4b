"""The sweep: one query finds what time has brought about, and each row says what that is."""

from __future__ import annotations

import logging
import threading
import time
from collections import defaultdict
from typing import TYPE_CHECKING, Any

from celery import current_app, shared_task

from . import payload, polling, sending, signals, states
from .begin import EXPIRED, PAST_DEADLINE
from .delivery import wait_before_repeat
from .errors import ExternalError
from .installation import Pace, installation_of
from .keepalive import keep_alive
from .logs import name_job
from .references import sweep_kept
from .retention import purge_old
from .store import polls, read, times

if TYPE_CHECKING:
    from celery import Celery
    from celery.beat import Scheduler

    from .installation import Installation
    from .store.database import Row, Transaction

logger = logging.getLogger("celery_external")

TASK_NAME = "celery_external.sweep"
#: Rows in one transaction: few enough that nobody waits long for the locks.
BATCH = 500
#: Seconds after which a message of beat's is dropped. Not the interval: the clocks of beat and a
#: worker may be an hour apart, and then no sweep at all would be run.
MESSAGE_EXPIRES = 24 * 3600.0
_pace = Pace()


@shared_task(name=TASK_NAME, ignore_result=True)
def sweep_task() -> int | None:
    """What beat runs; safe to run any number of times at once.

    Of the messages that have piled up while no worker ran, one is enough: the others do nothing.
    """
    installation = installation_of(current_app)
    if not _pace.is_time(installation, installation.settings.sweep_interval / 2):
        return None
    return sweep(installation)


def sweep(installation: Installation) -> int:
    """Do everything that is due, keep groups alive, purge; returns how many jobs were due."""
    began = time.monotonic()
    total = _do_what_is_due(installation)
    sweep_kept(installation)
    keep_alive(installation)
    purge_old(installation)
    signals.sweep_ended.send(installation.app, due=total, seconds=time.monotonic() - began)
    return total


def _do_what_is_due(installation: Installation) -> int:
    """In batches; returns how many rows that was."""
    total = 0
    while True:
        with installation.database.transaction() as tx:
            due = read.lock_due(tx, installation.namespace, BATCH)
            ended = _end(installation, tx, due)
            polled = _begin_polls(installation, tx, due)
            repeated = _repeat(installation, tx, due)
        _announce(installation, ended, repeated)
        to_send = [*ended, *(row for row in repeated if not _is_given_up(row))]
        done: set[str] = {row["id"] for row in repeated if _is_given_up(row)}
        sent = sending.send(installation.app, to_send, installation.settings.resume_queue, done)
        unsent = [row["id"] for row in repeated if row["id"] not in sent | done]
        if unsent:
            # Only what the broker took counts as sent, and what it never will.
            with installation.database.alone() as tx:
                grace = installation.settings.resume_grace
                times.take_back_repeat(tx, installation.namespace, unsent, grace)
        asked = _send_polls(installation, polled)
        total += len(due)
        if len(due) < BATCH or ((to_send or polled) and not (sent or asked)):
            return total


def _end(installation: Installation, tx: Transaction, due: list[Row]) -> list[Row]:
    """Decide the jobs that time has ended."""
    ends: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in due:
        outcome = _end_of(row)
        if outcome is not None:
            ends[outcome].append(row["id"])
    ended: list[Row] = []
    for (kind, reason), ids in ends.items():
        columns = payload.outcome_columns(kind, reason=reason)
        grace = installation.settings.resume_grace
        ended.extend(times.expire(tx, installation.namespace, ids, columns, grace))
    return ended


def _repeat(installation: Installation, tx: Transaction, due: list[Row]) -> list[Row]:
    """Count one more send of the messages that are due once more."""
    repeats: dict[float | None, list[str]] = defaultdict(list)
    for row in due:
        if _end_of(row) is None and row["state"] != states.PARKED:
            repeats[_wait(installation, row)].append(row["id"])
    return [
        row
        for wait, ids in repeats.items()
        for row in times.repeat(tx, installation.namespace, ids, wait)
    ]


def _begin_polls(installation: Installation, tx: Transaction, due: list[Row]) -> list[Row]:
    """Of the jobs that wait on, those whose task is to be asked; it is once a round."""
    ids = [row["id"] for row in due if row["state"] == states.PARKED and _end_of(row) is None]
    if not ids:
        return []
    return polls.begin(tx, installation.namespace, ids, installation.settings.lease)


def _send_polls(installation: Installation, polled: list[Row]) -> set[str]:
    asked = polling.send(installation.app, polled)
    unasked = [row["id"] for row in polled if row["id"] not in asked]
    if unasked:
        with installation.database.alone() as tx:
            polls.begin(tx, installation.namespace, unasked, 0)
    return asked


def _announce(installation: Installation, ended: list[Row], repeated: list[Row]) -> None:
    """After the commit: receivers may look at the job, and change it."""
    for row in ended:
        logger.warning(
            "Job %s[%s] %s: %s",
            row["task"],
            row["id"],
            row["kind"],
            row["reason"],
            extra=name_job(row),
        )
        signals.send_completed(installation.app, row)
    for row in repeated:
        if row["sends"] > states.MAX_SENDS:
            logger.error(
                "Job %s[%s] is stuck: no worker takes it",
                row["task"],
                row["id"],
                extra=name_job(row),
            )


def _is_given_up(row: Row) -> bool:
    return row["kind"] is None and row["sends"] > states.MAX_SENDS


def _end_of(row: Row) -> tuple[str, str] | None:
    """The outcome that time has brought about; None: it is a message that is to be sent again."""
    if row["kind"] is not None:
        return None
    if row["expired"] and row["state"] in {states.PENDING, states.RETRY}:
        return EXPIRED
    if row["past_deadline"]:
        return PAST_DEADLINE
    if row["state"] == states.PARKED and row["past_due"]:
        return states.TIMED_OUT, "No sign of life within the heartbeat timeout"
    if row["state"] == states.STARTED:
        return states.LOST, "The trigger did not end within its trigger timeout"
    return None


def _wait(installation: Installation, row: Row) -> float | None:
    """Seconds until a message is sent once more; None: this was the last time."""
    settings = installation.settings
    if row["kind"] is not None:
        return wait_before_repeat(settings.resume_grace, row["sends"] + 1)
    if row["sends"] >= states.MAX_SENDS:
        return None
    return wait_before_repeat(settings.pending_grace, row["sends"] + 1)


# --- Who runs it ----------------------------------------------------------------------------------


def ensure_scheduled(app: Celery, scheduler: Scheduler) -> None:
    """Have a beat that starts sweep, unless the user has an entry for it."""
    if any(entry.task == TASK_NAME for entry in scheduler.schedule.values()):
        return
    settings = installation_of(app).settings
    options: dict[str, Any] = {"expires": MESSAGE_EXPIRES}
    if settings.sweep_queue:
        options["queue"] = settings.sweep_queue
    entry = {"task": TASK_NAME, "schedule": settings.sweep_interval, "options": options}
    scheduler.update_from_dict({TASK_NAME: entry})
    logger.info("celery-external sweeps every %s seconds", settings.sweep_interval)


class Sweeper(threading.Thread):
    """In a worker's main process: sweeps without beat, or sees whether anybody sweeps."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(name="celery-external-sweeper", daemon=True)
        self._installation = installation
        self._over = threading.Event()
        self._has_warned = False

    def run(self) -> None:
        """Go on until :meth:`stop`."""
        try:
            self._go_on()
        finally:
            self._installation.rest(is_over=True)

    def _go_on(self) -> None:
        settings = self._installation.settings
        interval = settings.sweep_interval * (1 if settings.sweep_in_worker else 6)
        while not self._over.wait(interval):
            try:
                if settings.sweep_in_worker:
                    sweep(self._installation)
                else:
                    self._warn_if_nobody_sweeps(interval)
            except ExternalError as exc:
                logger.warning("The sweep is put off: %s", exc)
            except Exception:
                logger.exception("The sweep failed")
            self._installation.rest()

    def _warn_if_nobody_sweeps(self, seconds: float) -> None:
        installation = self._installation
        with installation.database.alone() as tx:
            is_overdue = read.is_overdue(tx, installation.namespace, seconds)
        if is_overdue and not self._has_warned:
            logger.warning(
                "Jobs have waited for the sweep for more than %.0f seconds, and nobody sweeps: "
                "timeouts and repeats do not happen. Run celery beat, or set "
                "external_sweep_in_worker = True",
                seconds,
            )
        self._has_warned = is_overdue

    def stop(self) -> None:
        """End the thread after what it is doing."""
        self._over.set()
