"""Runs ``celery -A … external …``, with pipes as a script has them or with a terminal."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Self

from tests.processes import REPOSITORY
from tests.systems import TASKS

CELERY = str(Path(sys.executable).parent / "celery")
TIMEOUT = 100.0
#: What steers a terminal.
ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


class Said(NamedTuple):
    """Exit code, stdout and stderr."""

    code: int
    out: str
    err: str


class Shell:
    """Runs the command for an app on a database; nobody works for its broker."""

    def __init__(self, database_url: str, *, app: str = TASKS, **env: str) -> None:
        self._app = app
        self._env = {
            "BROKER_URL": "memory://",
            "RESULT_URL": "cache+memory://",
            "DATABASE_URL": database_url,
            "CONF": '{"broker_connection_retry_on_startup": false}',
            **env,
        }

    def run(self, *arguments: str, typed: str = "", **env: str) -> Said:
        """Run it; ``typed`` is its stdin."""
        run = subprocess.run(
            self.command(arguments),
            cwd=REPOSITORY,
            env=self.environment(env),
            input=typed.encode(),
            capture_output=True,
            check=False,
            timeout=TIMEOUT,
        )
        return Said(run.returncode, run.stdout.decode(), run.stderr.decode())

    def command(self, arguments: Sequence[str]) -> list[str]:
        """The words of the command."""
        return [CELERY, "-A", self._app, "external", *arguments]

    def environment(self, env: Mapping[str, str]) -> dict[str, str]:
        """This process's, the app's, and more."""
        return {**os.environ, **self._env, **env}


class Terminal:
    """A command with a terminal of its own, 100 columns wide: someone types, and reads."""

    def __init__(self, shell: Shell, *arguments: str, **env: str) -> None:
        self._mine, theirs = pty.openpty()
        size = {"COLUMNS": "100", "LINES": "30", "TERM": "xterm-256color"}
        self.process = subprocess.Popen(
            shell.command(arguments),
            cwd=REPOSITORY,
            env=shell.environment({**size, **env}),
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self.raw = ""

    def read_until(self, text: str) -> str:
        """What is there to read by the time that ``text`` is."""
        deadline = time.monotonic() + TIMEOUT
        while text not in self.shown and time.monotonic() < deadline and self._read():
            pass
        assert text in self.shown, self.raw
        return self.shown

    def read_all(self) -> str:
        """All that it says until it ends."""
        while self._read():
            pass
        self.process.wait(TIMEOUT)
        return self.shown

    @property
    def shown(self) -> str:
        """What can be read, without what steers the terminal."""
        return ESCAPE.sub("", self.raw).replace("\r\n", "\n")

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._mine, text.encode())

    def _read(self) -> bool:
        try:
            data = os.read(self._mine, 65536)
        except OSError:  # the other side is closed
            return False
        self.raw += data.decode(errors="replace")
        return bool(data)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(TIMEOUT)
        os.close(self._mine)
