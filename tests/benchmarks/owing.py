"""Signals whose send is left owed: the commit alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from celery_external import sending

_SEND = sending.send


def choose_send(*, is_sent: bool) -> None:
    """From now on signals of this process send, or leave that to the sweep.

    As they leave it where the broker refuses at once: the row is written with all that the sweep
    needs, the hooks run, and nothing is published.
    """
    sending.send = _SEND if is_sent else _send_nothing


@contextmanager
def left_owed() -> Iterator[None]:
    """Within, nothing is sent."""
    choose_send(is_sent=False)
    try:
        yield
    finally:
        choose_send(is_sent=True)


def _send_nothing(*_args: Any, **_options: Any) -> set[str]:
    return set()
