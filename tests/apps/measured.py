"""An app whose worker shows its metrics, by the code of docs/metrics.md."""

from __future__ import annotations

import os
import re
import sys
from functools import partial
from typing import Any

from celery_external import ExternalTask, Failed, Succeeded
from tests.apps.making import make_app
from tests.processes import REPOSITORY

app = make_app("measured")

# The tests load this module many times; a shared task would belong to every app there is.
task = partial(app.task, shared=False)


@task(base=ExternalTask, name="measured.ask")
def ask() -> None:
    """Park."""


@task(base=ExternalTask, name="measured.hurry", timeout=0.3)
def hurry() -> None:
    """Park, and time out."""


@task(base=ExternalTask, name="measured.know")
def know(outcome: str) -> Any:
    """Know the outcome at once."""
    return Succeeded() if outcome == "succeeded" else Failed(outcome)


def show_metrics() -> None:
    """Do what the document says."""
    document = (REPOSITORY / "docs" / "metrics.md").read_text()
    (code,) = re.findall(r"```python\n(# shop_metrics.py.*?)```", document, re.DOTALL)
    sys.modules["shop"] = sys.modules[__name__]
    exec(compile(code, "docs/metrics.md", "exec"), made)  # noqa: S102 - ours


#: What the document's code defines; Celery's signals do not hold its receivers.
made: dict[str, Any] = {"__name__": "shop_metrics"}

# A worker; the tests that load this module do not show it.
if "METRICS_PORT" in os.environ:
    show_metrics()
