"""OpenTelemetry and Sentry: whatever becomes of a job belongs to the trace that started it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import pytest

from tests.monitoring.conftest import CONF
from tests.processes import Process
from tests.systems import System
from tests.waiting import wait_for

#: How often each job is run by a worker: its triggers, its resumes.
RUNS = {
    "resumed": 2,
    "next step": 1,
    "retried": 4,
    "run again": 3,
    "continued": 4,
    "continued in a transaction": 3,
    "timed out": 2,
    "sent by name": 2,
    "failed": 2,
}
#: What waits once more after the signals.
PARKED_AGAIN = ("retried", "run again", "continued", "continued in a transaction")
#: Milliseconds.
HOUR = 3_600_000.0


@dataclass(frozen=True)
class Traced:
    """What was started, in which traces, and what the worker told of it."""

    system: System
    start: dict[str, Any]
    signal: dict[str, Any]

    def spans(self, kind: str) -> list[dict[str, Any]]:
        """What OpenTelemetry was told of a job's runs."""
        return [
            span
            for span in map(json.loads, self.system.lines("spans"))
            if span["job"] == self.start["jobs"][kind] and span["name"].startswith("run/")
        ]

    def transactions(self, kind: str) -> list[dict[str, Any]]:
        """What Sentry was told of them."""
        return [
            one
            for one in map(json.loads, self.system.lines("transactions"))
            if one["job"] == self.start["jobs"][kind] and one["type"] == "transaction"
        ]

    def are_told(self, find: Callable[[str], list[dict[str, Any]]]) -> bool:
        """Whether all that a worker runs is over."""
        return all(len(find(kind)) >= number for kind, number in RUNS.items())

    def errors(self) -> list[dict[str, Any]]:
        """The errors that Sentry was told of."""
        told = map(json.loads, self.system.lines("transactions"))
        return [one for one in told if one["type"] == "event"]


@pytest.fixture(scope="module")
def traced(make_shared_system: Callable[..., System]) -> Iterator[Traced]:
    """All that was started in one trace and signalled in another, when it is over."""
    system = make_shared_system("PostgreSQL", conf=CONF, tasks="tests.apps.traced")
    worker = system.worker()
    worker.env["TRACES"] = "worker"
    with closing(system), worker:
        start = run_web(system, "start")
        jobs = start["jobs"]
        for kind in RUNS.keys() - {"next step", "timed out"}:
            system.wait_parked(jobs[kind])
        signal = run_web(system, "signal")
        for kind in PARKED_AGAIN:
            job = system.wait_attempt(jobs[kind], 2)
            system.external.signal_succeeded(job, "yes")
        made = Traced(system, start, signal)
        wait_for(lambda: made.are_told(made.spans), what="OpenTelemetry to be told of all")
        wait_for(lambda: made.are_told(made.transactions), what="Sentry to be told of all")
        yield made


def run_web(system: System, what: str) -> dict[str, Any]:
    """Have the other process do it; returns what it tells."""
    web = Process("tests.monitoring.web", what, env={**system.env, "TRACES": "web"}, name=what)
    with web:
        assert web.wait(60) == 0, web.log()
    told: dict[str, Any] = json.loads(system.lines(what)[0])
    return told


@pytest.mark.parametrize("kind", RUNS)
def test_opentelemetry_has_every_run_in_the_trace_of_the_start(traced: Traced, kind: str) -> None:
    spans = traced.spans(kind)
    assert len(spans) == RUNS[kind]
    assert {span["trace"] for span in spans} == {traced.start["otel"]}


@pytest.mark.parametrize("kind", RUNS)
def test_sentry_has_every_run_in_the_trace_of_the_start(traced: Traced, kind: str) -> None:
    transactions = traced.transactions(kind)
    assert len(transactions) == RUNS[kind]
    assert {one["trace"] for one in transactions} == {traced.start["sentry"]}


def test_the_signals_are_a_trace_of_their_own(traced: Traced) -> None:
    assert traced.signal["otel"] != traced.start["otel"]
    assert traced.signal["sentry"] != traced.start["sentry"]


def test_to_park_is_no_error(traced: Traced) -> None:
    assert [span["status"] for span in traced.spans("resumed")] == ["UNSET", "UNSET"]
    assert [span["status"] for span in traced.spans("failed")] == ["UNSET", "ERROR"]
    assert [one["status"] for one in traced.transactions("resumed")] == ["aborted", "ok"]
    # Of the failure, the timeout, and of nothing else.
    jobs = traced.start["jobs"]
    assert {one["job"] for one in traced.errors()} == {jobs["failed"], jobs["timed out"]}


def test_a_wait_is_no_latency_of_a_message(traced: Traced) -> None:
    for kind in RUNS:
        told = [one["latency"] for one in traced.transactions(kind)]
        # Of the first run. That a resume was sent Sentry has not seen.
        assert told[0], kind
        assert all(number < HOUR for numbers in told for number in numbers)
    assert [one["latency"] for one in traced.transactions("resumed")][1:] == [[]]
