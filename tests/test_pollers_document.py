"""The code in docs/pollers.md does what the document says."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from types import SimpleNamespace
from typing import Any

import celery_external
from tests.polls import poll
from tests.processes import REPOSITORY
from tests.rows import Rows


class Provider:
    """What the document's code asks."""

    def create(self, prompt: str) -> str:
        """Begin."""
        return f"ref-{prompt}"

    ask_for = create

    def find(self, references: Sequence[str]) -> dict[str, Any]:
        """Tell how it is."""
        known = {"ref-done": Work("done"), "ref-failed": Work("failed")}
        return {reference: known.get(reference, Work("busy")) for reference in references}

    def paid_since_yesterday(self) -> dict[str, int]:
        """Tell what was paid."""
        return {"ref-done": 5}


@dataclass
class Work:
    """How a piece of work is."""

    status: str
    url: str = "https://example.com/cat"
    error: str = "no GPU"
    percent: float = 40


def test_the_documents_code_does_what_it_says(rows: Rows) -> None:
    document = (REPOSITORY / "docs" / "pollers.md").read_text()
    function, by_class = re.findall(r"```python\n(.*?)```", document, re.DOTALL)
    # A shared task would belong to every app there is.
    app = SimpleNamespace(task=partial(rows.app.task, shared=False))
    names: dict[str, Any] = {**vars(celery_external), "app": app, "__name__": "document"}
    names |= {"provider": Provider(), "bank": Provider()}
    exec(function, names)  # noqa: S102 - our own
    exec(by_class, names)  # noqa: S102
    expected = {
        names["render"]: {"done": "SUCCESS", "failed": "FAILURE", "busy": "PARKED"},
        rows.app.register_task(names["Payment"]()): {"done": "SUCCESS", "busy": "PARKED"},
    }
    for task, states in expected.items():
        rows.task = task
        made = {rows.parked(poll=10, args=(of,)): of for of in states}
        for job_id, of in made.items():
            rows.write(job_id, reference=f"ref-{of}")
            poll(rows, job_id)
            rows.sent()
        assert {of: rows.get(job_id)["state"] for job_id, of in made.items()} == states
