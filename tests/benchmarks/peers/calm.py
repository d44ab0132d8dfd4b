"""How busy others keep the machine before a figure is taken, and while it is."""

from __future__ import annotations

import contextlib
import time
from dataclasses import dataclass
from pathlib import Path

import psutil

STAT = Path("/proc/stat")
INTERVAL = 0.25
#: The share of all cores from which on others disturb.
BUSY = 0.15
#: So that one bad minute does not use all patience up.
AT_ONCE = 5.0


@dataclass(frozen=True)
class _Seconds:
    """Of the processor, since the machine started: all, those that were idle, and ours."""

    total: float
    idle: float
    ours: float


class Calm:
    """Waits while others work, and says how much of the machine they had; nothing off Linux."""

    def __init__(self, patience: float) -> None:
        #: Seconds that may still be spent on waiting and on taking a figure again.
        self.patience = patience
        self._start: _Seconds | None = None

    def wait(self) -> None:
        """Wait until others are quiet, for a while; what follows is watched."""
        start = time.monotonic()
        until = start + min(self.patience, AT_ONCE)
        self._start = _look()
        while self._start is not None and time.monotonic() < until:
            time.sleep(INTERVAL)
            if self.share() <= BUSY:
                break
            self._start = _look()
        self.patience -= time.monotonic() - start
        self._start = _look()

    def share(self) -> float:
        """The share of all cores that others had since the wait."""
        start, now = self._start, _look()
        if start is None or now is None or now.total == start.total:
            return 0.0
        busy = now.total - start.total - (now.idle - start.idle)
        return max(0.0, round((busy - (now.ours - start.ours)) / (now.total - start.total), 3))


def _look() -> _Seconds | None:
    if not STAT.exists():
        return None
    times, ours = psutil.cpu_times(), 0.0
    for process in (psutil.Process(), *psutil.Process().children(recursive=True)):
        with contextlib.suppress(psutil.NoSuchProcess):
            # With the children that have ended: PostgreSQL's vacuum comes and goes.
            ours += sum(process.cpu_times()[:4])
    # Of what else is told, guest time counts as the user's already.
    total = sum(times[:8])
    return _Seconds(total, times.idle + times.iowait, ours)
