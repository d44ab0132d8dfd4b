"""The demo's child processes: started with a log file each, and always stopped."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Self

#: How many lines of each log to show when something went wrong.
LOG_LINES = 40


class ProcessError(Exception):
    """A child process ended by itself, or did not begin."""


class Processes:
    """Python modules run as processes; a context manager that leaves none behind."""

    def __init__(self, log_directory: Path) -> None:
        """Logs go to ``log_directory``, which exists."""
        self._directory = log_directory
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Self:
        """Nothing runs yet."""
        return self

    def __exit__(self, *_exc_info: object) -> None:
        """Stop them all, the last started first."""
        # A second Ctrl-C must not leave half of them running.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        for process in reversed(self._running.values()):
            process.terminate()
        deadline = time.monotonic() + 5
        for process in self._running.values():
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            _kill_group(process)
            process.wait()

    def start(self, name: str, module: str, *arguments: str, fds: Sequence[int] = ()) -> None:
        """Run ``python -m module arguments`` in the working directory; it also has these files."""
        root = str(Path(__file__).parents[2])
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH")]))
        with self._log(name).open("wb") as log:
            self._running[name] = subprocess.Popen(
                [sys.executable, "-m", module, *arguments],
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**os.environ, "PYTHONPATH": path, "PYTHONUNBUFFERED": "1"},
                pass_fds=fds,
                start_new_session=True,  # a Ctrl-C is for us; we stop them in order
            )

    def check(self) -> None:
        """Raise if one has ended."""
        for name, process in self._running.items():
            if process.poll() is not None:
                message = f"{name} ended with code {process.returncode}"
                raise ProcessError(message)

    def wait_for_url(self, name: str, seconds: float = 20) -> str:
        """The address that a process says it listens at; it chose a free port itself."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            self.check()
            found = re.search(
                r"^listening at (\S+)$", self._log(name).read_text("utf-8"), re.MULTILINE
            )
            if found:
                return found[1]
            time.sleep(0.05)
        message = f"{name} does not listen after {seconds} seconds"
        raise ProcessError(message)

    def read_logs(self) -> dict[str, str]:
        """The last lines of each log by the process's name."""
        logs = {name: self._log(name).read_text("utf-8", "replace") for name in self._running}
        return {name: "\n".join(log.splitlines()[-LOG_LINES:]) for name, log in logs.items()}

    def _log(self, name: str) -> Path:
        return self._directory / f"{name}.log"


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    # The worker's pool processes too, if it did not stop them itself.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
