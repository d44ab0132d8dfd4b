"""A broker that is away while Celery is told of an outcome: what is published then waits for it.

Where the body of a chord, or an errback, cannot be published, Celery takes the chord for failed or
the errback for called. That happens inside the result backend, where no hook of a task sees it, so
the publish itself must not fail.
"""

from __future__ import annotations

import itertools
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

from billiard.exceptions import SoftTimeLimitExceeded
from kombu.exceptions import OperationalError

from .delivery import Delivery

logger = logging.getLogger("celery_external")

T = TypeVar("T")

#: Seconds between tries to publish; the last one goes on for as long as the broker is away.
WAITS = (0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

_telling: ContextVar[Delivery | None] = ContextVar("celery_external_telling", default=None)


@contextmanager
def telling(delivery: Delivery | None) -> Iterator[None]:
    """While Celery is told of this delivery's outcome, what is published waits for the broker."""
    token = _telling.set(delivery)
    try:
        yield
    finally:
        _telling.reset(token)


def publish(send: Callable[[], T]) -> T:
    """Call ``send``; while an outcome is told, for as long as it takes.

    A hard time limit or a killed worker ends the wait: the outcome then stays owed.
    """
    delivery = _telling.get()
    if delivery is None:
        return send()
    waits = itertools.chain(WAITS, itertools.repeat(WAITS[-1]))
    while True:
        try:
            return send()
        except (OperationalError, OSError, SoftTimeLimitExceeded) as exc:
            logger.warning(
                "Job %s waits for the broker: %r", delivery.job_id, exc, extra=delivery.extra
            )
        _rest(next(waits))
        delivery.renew()


def _rest(seconds: float) -> None:
    try:
        time.sleep(seconds)
    except SoftTimeLimitExceeded:
        logger.warning("The soft time limit passed while the broker was away")
