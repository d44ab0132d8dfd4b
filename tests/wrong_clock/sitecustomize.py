"""Gives a process a wrong clock: on its ``PYTHONPATH``, with ``CLOCK_OFFSET`` in seconds."""

import datetime as dt
import os

import time_machine

shift = dt.timedelta(seconds=float(os.environ["CLOCK_OFFSET"]))
time_machine.travel(dt.datetime.now(dt.UTC) + shift, tick=True).start()
