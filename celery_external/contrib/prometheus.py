"""Metrics for Prometheus: the jobs as the database has them, and what this process did to them."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterable, Iterator
from datetime import datetime
from typing import Any

from celery import Celery
from prometheus_client import REGISTRY, CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from celery_external import Job, Stats, get_external, signals
from celery_external.errors import OptionError
from celery_external.installation import installation_of
from celery_external.naming import external_tasks

__all__ = ["JobCollector", "register"]

logger = logging.getLogger("celery_external")

#: Seconds for which what the database said is shown again.
MAX_AGE = 5.0

_MINUTE, _HOUR, _DAY = 60, 3600, 86400
#: From a webhook that comes at once to an approval that takes a month.
WAITING_BUCKETS = (
    *(1, 5, 15, _MINUTE, 5 * _MINUTE, 15 * _MINUTE, _HOUR, 4 * _HOUR, 12 * _HOUR),
    *(_DAY, 3 * _DAY, 7 * _DAY, 14 * _DAY, 30 * _DAY),
)
SWEEP_BUCKETS = (0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)

_registered: weakref.WeakKeyDictionary[CollectorRegistry, _Counting] = weakref.WeakKeyDictionary()


def register(
    app: Celery,
    registry: CollectorRegistry = REGISTRY,
    *,
    database: bool = True,
    max_age: float = MAX_AGE,
) -> None:
    """Have an app's metrics in a registry; again for the same app does nothing.

    Call it in every process that starts, runs, signals or sweeps jobs: what is counted is counted
    in the process that does it. Connections to the database are made at a scrape, not before.

    Arguments:
        app: The Celery app.
        registry: Where Prometheus looks. Default: the process's own.
        database: Also what the database knows (:class:`JobCollector`). False where another
            target shows it already, so that nobody adds the two up.
        max_age: Seconds for which what the database said is shown again.

    Raises:
        OptionError: The registry has another app's metrics, or this one's with other options.
        SettingsError: An ``external_*`` setting cannot be used.
    """
    external = get_external(app)
    known = _registered.get(registry)
    if known is not None and known.app is not external.app:
        raise OptionError("registry", "has another app's metrics: give each app one of its own")
    if known is not None and known.options != (database, max_age):
        raise OptionError("registry", f"has this app's metrics with {known.options}")
    if known is not None:
        return
    collector = JobCollector(app, max_age=max_age)
    if database:
        registry.register(collector)
    _registered[registry] = _Counting(external.app, registry, (database, max_age))


class JobCollector(Collector):
    """What the database knows of an app's jobs, asked at a scrape; one of its own for a registry.

    :func:`register` makes one. It is for registries that are made for a single scrape, as
    Prometheus' multiprocess mode does. A database that is away leaves ``celery_external_up`` 0 and
    a line in the log, and the rest of the scrape as it is.

    Arguments:
        app: The Celery app.
        max_age: Seconds for which what the database said is shown again.

    Raises:
        OptionError: ``max_age`` is negative.
        SettingsError: An ``external_*`` setting cannot be used.
    """

    def __init__(self, app: Celery, *, max_age: float = MAX_AGE) -> None:
        if not max_age >= 0:
            raise OptionError("max_age", f"must be a number of seconds, not {max_age!r}")
        self._external = get_external(app)
        self._max_age = max_age
        self._lock = threading.Lock()
        self._read_at: float | None = None
        self._stats: Stats | None = None

    def describe(self) -> Iterable[Metric]:
        """The names; whoever registers it need not wait for the database."""
        return _Gauges().all()

    def collect(self) -> Iterator[Metric]:
        """What Prometheus is told."""
        with self._lock:
            now = time.monotonic()
            if self._read_at is None or now - self._read_at > self._max_age:
                self._stats = self._read()
                self._read_at = time.monotonic()
            stats = self._stats
        gauges = _Gauges()
        gauges.up.add_metric([], stats is not None)
        if stats is not None:
            gauges.fill(stats, self._find_tasks())
        yield from gauges.all()

    def _read(self) -> Stats | None:
        try:
            return self._external.stats()
        except Exception:
            logger.exception("The metrics are without what %s knows", self._external.database_name)
            return None
        finally:
            # The thread is the web server's, and may be gone after this request.
            installation_of(self._external.app).rest(is_over=True)

    def _find_tasks(self) -> set[str]:
        """The tasks that are 0 where nothing is parked; without a sample an alert cannot end."""
        return set(external_tasks(self._external.app))


class _Gauges:
    """The gauges of one scrape."""

    def __init__(self) -> None:
        self.up = _gauge("up", "Whether the jobs' database could be asked.")
        self.states = _gauge("jobs", "Open jobs.", "state")
        self.parked = _gauge("jobs_parked", "Jobs that wait for the outside world.", "task")
        self.oldest = _gauge(
            "oldest_parked_age_seconds", "For how long the first of them has waited.", "task"
        )
        self.overdue = _gauge("jobs_overdue", "Jobs that the sweep should have looked at by now.")
        self.owed = _gauge("jobs_owed", "Outcomes that no worker has handed on to Celery yet.")
        self.stuck = _gauge("jobs_stuck", "Jobs whose message no worker takes.")

    def all(self) -> list[Metric]:
        """In the order of the page."""
        return list(vars(self).values())

    def fill(self, stats: Stats, known: set[str]) -> None:
        """Show what the database said."""
        for state, number in stats.states.items():
            self.states.add_metric([state], number.number)
        for name in sorted(known - {one.task for one in stats.tasks}):
            self.parked.add_metric([name], 0)
        for one in stats.tasks:
            self.parked.add_metric([one.task], one.parked.number)
            if one.oldest is not None:
                self.oldest.add_metric([one.task], _seconds_between(one.oldest, stats.at))
        self.overdue.add_metric([], stats.overdue.number)
        self.owed.add_metric([], stats.owed.number)
        self.stuck.add_metric([], stats.stuck.number)


def _gauge(name: str, text: str, *labels: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"celery_external_{name}", text, labels=labels)


def _seconds_between(earlier: datetime, later: datetime) -> float:
    return max(0.0, (later - earlier).total_seconds())


class _Counting:
    """Counts what this process does to an app's jobs, by the signals that it sends itself."""

    def __init__(
        self, app: Celery, registry: CollectorRegistry, options: tuple[bool, float]
    ) -> None:
        self._app = weakref.ref(app)
        #: As it was registered: ``database`` and ``max_age``.
        self.options = options
        self._parks = Counter(
            "celery_external_parks", "Jobs that have parked.", ["task"], registry=registry
        )
        self._outcomes = Counter(
            "celery_external_outcomes", "Outcomes, one per attempt.", ["task", "kind"],
            registry=registry,
        )  # fmt: skip
        self._waiting = Histogram(
            "celery_external_waiting_seconds", "From the park to the outcome, once per attempt.",
            ["task"], buckets=WAITING_BUCKETS, registry=registry,
        )  # fmt: skip
        self._refused = Counter(
            "celery_external_refused_signals", "Signals that did not count.", ["task", "error"],
            registry=registry,
        )  # fmt: skip
        self._sweeps = Histogram(
            "celery_external_sweep_duration_seconds", "Sweeps.", buckets=SWEEP_BUCKETS,
            registry=registry,
        )  # fmt: skip
        self._due = Counter(
            "celery_external_sweep_jobs", "Jobs that sweeps looked at.", registry=registry
        )
        signals.job_parked.connect(self._on_parked)
        signals.job_completed.connect(self._on_completed)
        signals.signal_refused.connect(self._on_refused)
        signals.sweep_ended.connect(self._on_sweep)

    @property
    def app(self) -> Celery | None:
        """The app, if it is there still."""
        return self._app()

    def _on_parked(self, sender: Any, **_told: Any) -> None:
        if sender.app is self.app:
            self._parks.labels(sender.name).inc()

    def _on_completed(
        self, sender: Any, task: str, kind: str, waited: float | None, **_told: Any
    ) -> None:
        if sender is not self.app:
            return
        self._outcomes.labels(task, kind).inc()
        if waited is not None:
            self._waiting.labels(task).observe(max(0.0, waited))

    def _on_refused(self, sender: Any, job: Job, error: Exception, **_told: Any) -> None:
        if sender is self.app:
            self._refused.labels(job.task, type(error).__name__).inc()

    def _on_sweep(self, sender: Any, due: int, seconds: float, **_told: Any) -> None:
        if sender is self.app:
            self._sweeps.observe(seconds)
            self._due.inc(due)
