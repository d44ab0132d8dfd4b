"""The table of docs/conformance.md: ``python -m tests.conformance.table`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.cases import CASES, Case
from tests.conformance.combinations import COMBINATIONS, Combination

PATH = Path(__file__).parent.parent.parent / "docs" / "conformance.md"

NO_CHORDS = "not possible: no chords"

HEAD = """# Conformance: an external task in an ordinary one's place

Each row is a canvas. The suite builds it twice, with ordinary tasks and with external ones that
park and are signalled, and compares results, states, children, callbacks, errbacks, hooks
(`on_success`, `on_failure`, `on_retry`, `after_return`), signal receivers (`task_success`,
`task_failure`, `task_retry`) and their order. Left out are `before_start`, `task_prerun`,
`task_postrun` and `task_received`, which Celery fires for each delivery. *same* means that no
difference was found; otherwise the tests fail.

Each column is a broker, a result backend and the database of the jobs, with one long-lived worker:
every pair of these meets. Written by `python -m tests.conformance.table`; a test compares.
"""

FOOT = """
## Not run

- `map`, `starmap` and `chunks`: they call the task's body inside a task of Celery's own, without a
  delivery; an external task in them only runs its trigger.
- Chords on `rpc` and without a result backend: Celery has none there. What else runs there is
  compared by rows, hooks and callbacks, and by results as far as the backend keeps them.
- Tasks that a trigger starts by itself are not children of its result: the delivery that returns
  the result is another one.
- `rate_limit` counts deliveries: a resume is one.
"""


def why_not(combination: Combination, case: Case) -> str | None:
    """Why a case cannot run on a combination; None: it can, and is compared."""
    return NO_CHORDS if case.needs_chords and not combination.has_chords else None


def make_page() -> str:
    """The document, from the suite's definition."""
    columns = [f"{one.broker}, {one.backend}, {one.table}" for one in COMBINATIONS]
    lines = [
        f"| canvas | {' | '.join(columns)} |",
        f"|---|{'---|' * len(columns)}",
        *(
            f"| {case.title} | {' | '.join(why_not(one, case) or 'same' for one in COMBINATIONS)} |"
            for case in CASES
        ),
    ]
    return "\n".join([HEAD, *lines, FOOT])


if __name__ == "__main__":
    PATH.write_text(make_page())
