"""From a signal until the next task of the chain begins, beside a hop of Celery's own chain."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from contextlib import ExitStack, closing
from statistics import median, quantiles

from tests.benchmarks.records import Records
from tests.benchmarks.rig import Rig
from tests.processes import REPOSITORY
from tests.servers import RabbitMQ

#: Signals, and hops, in a round.
NUMBER = 100


def measure(rig: Rig, records: Records, rounds: int) -> None:
    """One at a time, on a worker that has nothing else to do; each broker in turn."""
    with ExitStack() as stack:
        brokers = {"Valkey": rig.env}
        if RabbitMQ.find_scripts() is not None:
            rabbitmq = stack.enter_context(closing(RabbitMQ()))
            rabbitmq.start()
            brokers["RabbitMQ"] = {**rig.env, "BROKER_URL": rabbitmq.fresh_vhost()}
        for env in brokers.values():
            stack.enter_context(rig.worker(env=env))
        for number_of_round in range(1, rounds + 1):
            for broker, env in brokers.items():
                for case, times in _call(env).items():
                    figures = {"median": median(times), "p99": quantiles(times, n=100)[98]}
                    for figure, value in figures.items():
                        records.add("latency", case, value, "ms", figure=figure,
                                    broker=broker, round=number_of_round)  # fmt: skip


def _call(env: Mapping[str, str]) -> Mapping[str, list[float]]:
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.latencies", str(NUMBER)],
        env={**os.environ, **env},
        cwd=REPOSITORY,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: Mapping[str, list[float]] = json.loads(done.stdout)
    return found
