"""Waiting for a condition with a deadline, in place of sleeping and hoping."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

INTERVAL = 0.02


def wait_for(condition: Callable[[], T], *, timeout: float = 30.0, what: str) -> T:
    """Poll ``condition`` until it is truthy and return its value; fail after ``timeout`` seconds.

    An exception from ``condition`` is the test's own and ends the wait at once.
    """
    deadline = time.monotonic() + timeout
    while not (value := condition()):
        if time.monotonic() >= deadline:
            message = f"waited {timeout:g} s in vain for {what}; the last value was {value!r}"
            raise AssertionError(message)
        time.sleep(INTERVAL)
    return value
