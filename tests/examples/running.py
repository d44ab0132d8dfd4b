"""An example's run for real, and its stand-ins served within a test."""

from __future__ import annotations

import subprocess
import sys
from contextlib import AbstractContextManager

from flask import Flask
from werkzeug.serving import make_server

from tests.processes import REPOSITORY
from tests.serving import serving


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


def serve(web: Flask) -> AbstractContextManager[str]:
    """Serve an app from threads of this process, at the URL that this gives."""
    return serving(make_server("127.0.0.1", 0, web, threaded=True))
