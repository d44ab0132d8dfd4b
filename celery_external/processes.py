"""Where an app tells us of its processes: beat gets the sweep, a worker its sweeper thread."""

from __future__ import annotations

import logging
from typing import Any

from celery.signals import beat_init, worker_ready, worker_shutting_down

from .installation import installation_of, is_installed_on
from .limits import warn_of_backend
from .sweep import Sweeper, ensure_scheduled

logger = logging.getLogger("celery_external")


@beat_init.connect
def _schedule_the_sweep(sender: Any = None, **_kwargs: Any) -> None:
    # Not by way of `beat_schedule`: beat has read it, and the user may assign it at any time.
    if is_installed_on(sender.app):
        ensure_scheduled(sender.app, sender.scheduler)


_sweepers: list[Sweeper] = []


@worker_ready.connect
def _start_sweeper(sender: Any = None, **_kwargs: Any) -> None:
    if is_installed_on(sender.app):
        installation = installation_of(sender.app)
        logger.info("celery-external: jobs in %s", installation.database_name)
        sweeper = Sweeper(installation)
        sweeper.start()
        _sweepers.append(sweeper)
        # At last: a result backend that is away raises as it is made.
        warn_of_backend(sender.app)


@worker_shutting_down.connect
def _stop_sweepers(**_kwargs: Any) -> None:
    while _sweepers:
        _sweepers.pop().stop()
