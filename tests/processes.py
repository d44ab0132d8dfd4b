"""The real processes that the tests start: Celery workers, Celery beat, Python modules.

Each has a log file, is started in a session of its own, and is gone when its ``with`` block ends.
The report of a failed test shows the logs of all that ran during it (see ``conftest.py``).
"""

from __future__ import annotations

import contextlib
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import ClassVar, Self

import psutil

from tests.waiting import wait_for

REPOSITORY = Path(__file__).parent.parent
#: Of mypy, for users' modules: what they import is checked once, not for each of them.
OUTSIDE_CACHE = str(REPOSITORY / ".mypy_cache" / "outside")
READY_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0
REPORTED_LINES = 200
#: Of a process that other tests use as well, most lines are not about the test that failed.
REPORTED_LINES_SHARED = 20


class Process:
    """A Python module run as a process: ``python -m MODULE ARGUMENTS``, from the repository.

    ``env`` is added to this process's own environment. ``ready`` is a text in the log that says the
    process is up; without one it counts as up at once.
    """

    _numbers: ClassVar[Iterator[int]] = itertools.count(1)
    _seen: ClassVar[list[Process]] = []
    _shared: ClassVar[list[Process]] = []

    def __init__(
        self,
        module: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        cwd: Path = REPOSITORY,
        ready: str | None = None,
        name: str | None = None,
    ) -> None:
        self.name = f"{name or module}-{next(self._numbers)}"
        self.command = [sys.executable, "-m", module, *arguments]
        self.env = dict(env or {})
        self.cwd = cwd
        self.ready = ready
        self.directory = Path(tempfile.mkdtemp(prefix="celery-external-process-"))
        self._log = self.directory / "log"
        self._log.touch()
        self._log_start = 0
        self._last_words = ""
        self._killed = False
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process id, which is also that of its group."""
        return self._started.pid

    @property
    def returncode(self) -> int | None:
        """The exit code, negative for a signal; None while the process runs."""
        return self._started.poll()

    def start(self) -> None:
        """Start the process and wait until it is ready; what is left of an earlier start goes."""
        if self._process is not None:
            self.kill()
        self._killed = False
        self._log_start = self._log.stat().st_size
        paths = [str(REPOSITORY), os.environ.get("PYTHONPATH", "")]
        environment = {
            **os.environ,
            "PYTHONUNBUFFERED": "1",
            "TMPDIR": str(self.directory),
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            **self.env,
        }
        with self._log.open("ab") as output:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.cwd,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        if self not in self._seen:
            self._seen.append(self)
        if self.ready is not None:
            try:
                wait_for(self._is_ready, timeout=READY_TIMEOUT, what=f"{self.name} to be ready")
            except BaseException:
                self.close()
                raise

    def wait(self, timeout: float = STOP_TIMEOUT) -> int:
        """Wait until the process has ended by itself; return its exit code."""
        return self._started.wait(timeout)

    def stop(self, timeout: float = STOP_TIMEOUT) -> None:
        """Ask the process to end (SIGTERM), and kill it if it does not within ``timeout``."""
        if self._process is None:
            return
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.terminate()
            self._process.wait(timeout)
        self.kill()

    def kill(self) -> None:
        """Kill the process and its children at once (SIGKILL); they are gone on return."""
        process = self._started
        if self._killed:  # the number may be another process's by now
            return
        children = self.children()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT)
        wait_for(
            lambda: not any(is_running(pid) for pid in children),
            what=f"the children of {self.name} to end",
        )
        self._killed = True

    def children(self) -> list[int]:
        """Return the process ids of the group's other members: for a worker, its pool's."""
        return [pid for pid in psutil.pids() if pid != self.pid and group_of(pid) == self.pid]

    def close(self) -> None:
        """Stop the process and remove its files; its log can still be read."""
        self.stop()
        self._last_words = self.log()
        shutil.rmtree(self.directory, ignore_errors=True)

    def log(self) -> str:
        """Return all that the process has written to its standard output and error."""
        if self._log.exists():
            return self._log.read_text(errors="replace")
        return self._last_words

    def wait_for_log(self, text: str, *, timeout: float = READY_TIMEOUT) -> None:
        """Wait until the process has logged ``text`` since its start; fail if it ends without."""
        wait_for(
            lambda: self._has_logged(text), timeout=timeout, what=f"{self.name} to log {text!r}"
        )

    @property
    def _started(self) -> subprocess.Popen[bytes]:
        if self._process is None:
            message = f"{self.name} was never started"
            raise RuntimeError(message)
        return self._process

    def _is_ready(self) -> bool:
        return self.ready is None or self._has_logged(self.ready)

    def _has_logged(self, text: str) -> bool:
        ended = self.returncode is not None
        if text in self._log.read_bytes()[self._log_start :].decode(errors="replace"):
            return True
        if ended:
            message = f"{self.name} ended with {self.returncode}:\n{self.log()}"
            raise AssertionError(message)
        return False

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    @classmethod
    def forget_ended(cls) -> None:
        """Drop the processes that have ended, so that the next test's report is its own."""
        cls._seen[:] = [process for process in cls._seen if process.returncode is None]
        cls._shared[:] = cls._seen

    @classmethod
    def report(cls) -> list[tuple[str, str]]:
        """Return a title and the last lines of the log of each process seen."""
        return [
            (
                f"log of {process.name} (pid {process.pid})",
                "\n".join(process.log().splitlines()[-lines:]),
            )
            for process in sorted(cls._seen, key=cls._shared.__contains__)
            for lines in (REPORTED_LINES_SHARED if process in cls._shared else REPORTED_LINES,)
        ]

    @classmethod
    def kill_all(cls) -> None:
        """Kill whatever still runs."""
        for process in cls._seen:
            process.kill()


class Worker(Process):
    """A Celery worker, ready to take tasks once started.

    ``app`` is what ``celery -A`` takes, a module that can be imported from the repository or from
    a ``PYTHONPATH`` in ``env``. ``hostname`` is unique and what remote control calls the worker.
    """

    def __init__(
        self,
        app: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        pool: str = "prefork",
        concurrency: int = 1,
        queues: Sequence[str] = (),
        log_level: str = "INFO",
    ) -> None:
        self.hostname = f"worker-{os.getpid()}-{next(self._numbers)}@localhost"
        options = [
            f"--hostname={self.hostname}",
            f"--pool={pool}",
            f"--concurrency={concurrency}",
            f"--loglevel={log_level}",
            # Neither is needed by any test, and both cost a start a second or more.
            "--without-gossip",
            "--without-mingle",
        ]
        if queues:
            options.append(f"--queues={','.join(queues)}")
        super().__init__(
            "celery",
            "-A",
            app,
            "worker",
            *options,
            *arguments,
            env=env,
            ready=f"{self.hostname} ready.",
            name="worker",
        )


class Beat(Process):
    """Celery beat, with a schedule file of its own; started once it has looked at its schedule.

    Not before: a signal that interrupts beat while it sets the schedule up makes it fail.
    """

    def __init__(
        self,
        app: str,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        max_interval: int = 1,
    ) -> None:
        super().__init__("celery", env=env, ready="beat: Waking up", name="beat")
        self.command += [
            "-A",
            app,
            "beat",
            f"--schedule={self.directory / 'schedule'}",
            "--pidfile=",
            f"--max-interval={max_interval}",
            "--loglevel=DEBUG",
            *arguments,
        ]


def group_of(pid: int) -> int | None:
    """Return the process group of a process, None if it is gone."""
    try:
        return os.getpgid(pid)
    except ProcessLookupError:
        return None


def is_running(pid: int) -> bool:
    """Return whether a process runs; one that only waits to be reaped by its parent does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False
