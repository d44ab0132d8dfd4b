"""What Prometheus would see: a page of metrics, fetched over HTTP and parsed by its own parser."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from urllib.request import urlopen

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.parser import text_string_to_metric_families


class Page:
    """One scrape."""

    def __init__(self, url: str) -> None:
        with urlopen(url, timeout=20) as answer:  # noqa: S310 - our own server
            self.text: str = answer.read().decode()
        self.families = {one.name: one for one in text_string_to_metric_families(self.text)}

    def samples(self, name: str) -> dict[Any, float]:
        """The samples of a name by their labels' values; by the value alone if it is one label."""
        return {
            tuple(sample.labels.values()) if len(sample.labels) > 1 else one_of(sample.labels): (
                sample.value
            )
            for family in self.families.values()
            for sample in family.samples
            if sample.name == f"celery_external_{name}"
        }

    def value(self, name: str) -> float:
        """The value of the only sample of a name."""
        (value,) = self.samples(name).values()
        return value


def one_of(labels: dict[str, str]) -> str | None:
    """The only label's value."""
    return next(iter(labels.values()), None)


@contextmanager
def serving_metrics(registry: CollectorRegistry) -> Iterator[str]:
    """The address of a registry's page."""
    server, thread = start_http_server(0, addr="127.0.0.1", registry=registry)
    try:
        yield f"http://127.0.0.1:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
