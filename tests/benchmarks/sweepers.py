"""What a sweeper does, in a process of its own: it sweeps until nothing is due."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Mapping

from celery_external import get_external
from tests.benchmarks.app import app

#: Seconds until a message is sent once more: what is measured is the first send of each.
GRACE = 86400.0


def make_sweeper(_env: Mapping[str, str]) -> Callable[[object], object]:
    """What is called with whatever."""
    # Formatted and written, as by a worker, to where nobody reads it.
    logging.basicConfig(filename=os.devnull)
    app.conf.external_resume_grace = GRACE
    external = get_external(app)

    def sweep(_: object) -> None:
        while external.sweep():
            pass

    return sweep
