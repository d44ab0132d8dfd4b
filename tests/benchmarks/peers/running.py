"""A worker or a server of a peer, as a process with a log."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

PATIENCE = 10.0


class Running:
    """A process in a session of its own."""

    def __init__(self, command: Sequence[str], env: Mapping[str, str]) -> None:
        self.directory = Path(tempfile.mkdtemp(prefix="celery-external-peer-"))
        with (self.directory / "log").open("ab") as log:
            self._process = subprocess.Popen(
                command,
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    def log(self) -> str:
        """What it has written."""
        return (self.directory / "log").read_text(errors="replace")

    def halt(self) -> None:
        """Have it stand still, with all its connections."""
        self._signal(signal.SIGSTOP)

    def go(self) -> None:
        """Have it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """End it and all that it started, and remove its files."""
        self._process.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(PATIENCE)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait(PATIENCE)
        shutil.rmtree(self.directory, ignore_errors=True)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self._process.pid, number)
        except ProcessLookupError as error:
            message = f"{self._process.args!r} has ended:\n{self.log()}"
            raise RuntimeError(message) from error
