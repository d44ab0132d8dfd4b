"""An example's run for real, and its stand-ins served within a test."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import threading
from collections.abc import Iterator

from flask import Flask
from werkzeug.serving import make_server

from tests.processes import REPOSITORY


def run_example(name: str) -> list[str]:
    """Run it as its README says, and return the lines that it printed."""
    done = subprocess.run(
        [sys.executable, "-m", f"examples.{name}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


@contextlib.contextmanager
def serve(web: Flask) -> Iterator[str]:
    """Serve an app from threads of this process, at the URL that this gives."""
    server = make_server("127.0.0.1", 0, web, threaded=True)
    # The interval is what stopping it takes.
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
