"""Starts a chain for each product."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from celery import chain
from celery.result import AsyncResult

from . import tasks
from .celeryapp import app
from .products import Product, load_products


@dataclass(frozen=True)
class Run:
    """One product's chain, by the ids of its three steps."""

    product: Product
    render: str
    approval: str
    publish: str

    @property
    def result(self) -> AsyncResult[Any]:
        """What Celery says of the chain: its last step's result."""
        return AsyncResult(self.publish, app=app)


def start_run(product: Product, approval_seconds: float) -> Run:
    """Start one chain; whoever is to approve has so many seconds."""
    result = chain(
        tasks.render.s(product),
        tasks.await_approval.s(product).set(timeout=approval_seconds),  # type: ignore[call-arg]
        tasks.publish.s(product),
    ).apply_async()
    # Celery's rule: a chain's result is its last step's, and its parents are the steps before.
    publish, approval, render = map(str, result.as_list())
    return Run(product, render, approval, publish)


def start_all(approval_seconds: float) -> list[Run]:
    """Start the chain of every product."""
    return [start_run(product, approval_seconds) for product in load_products()]
