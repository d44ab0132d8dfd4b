"""The table of docs/conformance.md: ``python -m tests.conformance.table`` writes it anew."""

from __future__ import annotations

from pathlib import Path

from tests.conformance.cases import CASES, Case
from tests.conformance.combinations import COMBINATIONS, Combination

PATH = Path(__file__).parent.parent.parent / "docs" / "conformance.md"

SAME = "same"
SAME_BUT_CHILDREN = "same but `children`"
NO_CHORDS = "not possible: no chords"

HEAD = """\
# Conformance: an external task in an ordinary one's place

Each row is a canvas. The suite builds it twice: with ordinary tasks, which return or raise at once,
and with external ones, which park and are signalled. Each column is a broker, a result backend and
the database of the jobs, with one long-lived worker on which both run, all the other canvases
beside them. *same* means that nothing of this differs; where something does, the tests fail:

- what `result.get()` returns or raises, type and words; the state, result, parents, members and
  `children` of every result that the caller holds and, where all may read results, of every task;
- for each task, in this order: its body's call, `on_success`, `on_failure`, `on_retry`,
  `after_return`, the receivers of `task_success`, `task_failure` and `task_retry`, and the
  new-style `link_error`s, which Celery calls in its process, each with its arguments; how Celery
  logs a failure;
- for each message: root, parent, group, place in the group, tries, priority, queue, stamps, time
  limits, shadow name, `ignore_result`, `reply_to` and the headers of one's own;
- with a worker of one process, the order of all of that in a canvas that goes step by step.

Left out are `before_start`, `task_prerun`, `task_postrun` and `task_received`, which Celery fires
for each delivery, and what Celery itself leaves to chance: which of two tasks side by side is
first, and which member of a chord its body calls parent and root. At the end each job's row is
settled, in the state that Celery has seen.

Written by `python -m tests.conformance.table`; a test compares it with what the suite runs.
"""

FOOT = f"""\
## Not possible, not compared, not run

- *{NO_CHORDS}*: Celery refuses chords on `rpc` and without a result backend. A group that
  goes on in a chain, and a `replace` by a group, are chords too.
- `rpc`: only the caller has results, and only of what it has sent. Where a task replaces itself,
  Celery sends the result to the worker that published the replacement: it is not compared.
- Without a result backend there are no results and states; hooks, callbacks, messages and rows are
  compared.
- The database of the `database` backend is of the jobs' kind.
- Two brokers and four backends are eight pairs: fewer than eight combinations cannot have them all.
  Each canvas runs on each that can run it; the product would be sixteen.
- `map`, `starmap` and `chunks` are not run: they call the task's body inside a task of Celery's
  own, without a delivery; an external task in them only runs its trigger.
- *{SAME_BUT_CHILDREN}*: tasks that a trigger starts by itself are not children of its result, for
  the delivery that returns the result is another one. All else of them is the same.
- `rate_limit` counts deliveries: a resume is one.
- Not run: `Task.add_to_chord`, task protocol 1, serializers other than JSON, pools other than
  prefork.
"""


def why_not(combination: Combination, case: Case) -> str | None:
    """Why a case cannot run on a combination; None: it can, and is compared."""
    return NO_CHORDS if case.needs_chords and not combination.has_chords else None


def make_page() -> str:
    """The document, from the suite's definition."""
    head = ["canvas", *(_name(combination) for combination in COMBINATIONS)]
    rows = [
        [case.title, *(_outcome(combination, case) for combination in COMBINATIONS)]
        for case in CASES
    ]
    lines = [f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows)]
    return "\n".join([HEAD, *lines, "", FOOT])


def _outcome(combination: Combination, case: Case) -> str:
    same = SAME_BUT_CHILDREN if case.loses_children and combination.has_results else SAME
    return why_not(combination, case) or same


def _name(combination: Combination) -> str:
    name = f"{combination.broker}, {combination.backend}, {combination.table}"
    return name if combination.processes > 1 else f"{name} (one process)"


if __name__ == "__main__":
    PATH.write_text(make_page())
