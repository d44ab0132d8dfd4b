"""A chain that is steered from outside: its run checks itself."""

from __future__ import annotations

from tests.examples.running import run_example


def test_a_real_run() -> None:
    assert run_example("workerless") == [
        "approved, and continued with another step: {'published': 'A mug', 'approved by': 'alice'}",
        "declined, with an output: {'declined': 'by bob'}",
        "past approval, and left alone",
        "timed out by itself: {'declined': 'nobody answered'}",
        "completed while it ran: good as it is",
    ]
