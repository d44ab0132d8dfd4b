"""The examples that people copy run, and check themselves."""

from __future__ import annotations

import subprocess
import sys

from tests.processes import REPOSITORY


def test_workerless() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "examples.workerless"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.splitlines() == [
        "approved, and continued with another step: {'published': 'A mug', 'approved by': 'alice'}",
        "declined, with an output: {'declined': 'by bob'}",
        "past approval, and left alone",
        "timed out by itself: {'declined': 'nobody answered'}",
        "completed while it ran: good as it is",
    ]
