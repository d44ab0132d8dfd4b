"""The state table of DESIGN.md: what each event writes in each state, and what it must not.

`LINES` are the table's lines, one test each. `WRITES` is the whole product of states and events:
where it names no event, the event leaves no trace. What time brings about:
``test_states_time.py``; what callers are told: ``test_states_signals.py``; two at once:
``test_states_races.py``.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any

import pytest
from kombu.exceptions import OperationalError

from celery_external import states
from celery_external.store import attempts
from tests import events
from tests.events import GRACE, LEASE, PENDING, TRIGGER, Event
from tests.rows import CLAIM, NO_BROKER, NOW, In, Rows

STARTED = {
    "state": "STARTED",
    "claim": "other",
    "started_at": NOW,
    "due_at": In(TRIGGER),
    "wake_at": In(TRIGGER),
}
PARKED = {
    "state": "PARKED",
    "claim": None,
    "parked_at": NOW,
    "deadline": In(100),
    "due_at": None,
    "wake_at": In(100),
}
WITH_HEARTBEAT = {**PARKED, "due_at": In(10), "wake_at": In(10)}
DECIDED = {"completed_at": NOW, "claim": None, "sends": 0, "wake_at": In(GRACE)}
SUCCESS = {
    **DECIDED,
    "state": "SUCCESS",
    "kind": "succeeded",
    "completed_by": "alice",
    "outcome": b"5",
    "outcome_type": "application/json;utf-8",
}
FAILURE = {**DECIDED, "state": "FAILURE", "kind": "failed", "completed_by": "bob", "reason": "no"}
REVOKED = {
    **DECIDED,
    "state": "REVOKED",
    "kind": "cancelled",
    "completed_by": "eve",
    "reason": "changed my mind",
}
LOST = {**DECIDED, "state": "FAILURE", "kind": "lost", "reason": "killed"}
OWN = {**SUCCESS, "outcome": b"1", "completed_by": None, "claim": CLAIM, "wake_at": In(LEASE)}
ANSWERED = {
    "state": "SUCCESS",
    "answer": "succeeded",
    "outcome": b'"late"',
    "outcome_type": "application/json;utf-8",
    "reason": None,
}
OVERRULED = {
    "state": "FAILURE",
    "kind": "failed",
    "outcome": None,
    "outcome_type": None,
    "reason": "no JSON",
}
CLAIMED = {"claim": "other", "wake_at": In(LEASE)}
SETTLED = {"claim": None, "wake_at": None}
EXTENDED = {"deadline": In(500), "wake_at": In(500)}
OF_ONE_ATTEMPT = (
    "claim", "kind", "outcome", "outcome_type", "answer", "reason", "completed_by", "reference",
    "progress", "trigger_result", "started_at", "parked_at", "completed_at",
    "expires_at", "deadline",
)  # fmt: skip
NEXT = {
    **dict.fromkeys(OF_ONE_ATTEMPT),
    "attempt": 2,
    "state": "PENDING",
    "sends": 0,
    "due_at": In(PENDING),
    "wake_at": In(PENDING),
}
RETRY = {**NEXT, "state": "RETRY"}


@dataclass(frozen=True)
class Line:
    """An event in a state: what it writes, its lines in the history, whether it sends the job."""

    state: str
    event: Event
    writes: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    sends: bool = False

    def __str__(self) -> str:
        return f"{self.state}+{self.event.__name__}"


LINES = [
    Line("pending", events.deliver, STARTED),
    Line("retry", events.deliver, STARTED),
    Line("started", events.deliver),
    Line("started", events.redeliver, STARTED),
    Line("early", events.deliver, CLAIMED),
    Line("parked", events.deliver),
    Line("owed", events.deliver, CLAIMED),
    Line("claimed", events.deliver),
    Line("settled", events.deliver),
    Line("early", events.end_own_trigger, CLAIMED),
    Line("started", events.park, PARKED),
    Line("started", events.park_with_heartbeat, WITH_HEARTBEAT),
    Line("early", events.park),
    Line("started", events.decide_own, OWN, ("succeeded",)),
    Line("early", events.decide_own),
    Line("started", events.lose, LOST, ("lost",)),
    Line("early", events.lose),
    Line("pending", events.succeed, SUCCESS, ("succeeded",), sends=True),
    Line("retry", events.succeed, SUCCESS, ("succeeded",), sends=True),
    Line("parked", events.succeed, SUCCESS, ("succeeded",), sends=True),
    Line("started", events.succeed, SUCCESS, ("succeeded",)),
    Line("pending", events.fail, FAILURE, ("failed",), sends=True),
    Line("retry", events.fail, FAILURE, ("failed",), sends=True),
    Line("parked", events.fail, FAILURE, ("failed",), sends=True),
    Line("started", events.fail, FAILURE, ("failed",)),
    Line("pending", events.cancel, REVOKED, ("cancelled",), sends=True),
    Line("retry", events.cancel, REVOKED, ("cancelled",), sends=True),
    Line("parked", events.cancel, REVOKED, ("cancelled",), sends=True),
    Line("started", events.cancel, REVOKED, ("cancelled",)),
    Line("early", events.contradict, notes=("refused",)),
    Line("owed", events.contradict, notes=("refused",)),
    Line("settled", events.contradict, notes=("refused",)),
    Line("cancelled", events.contradict, notes=("refused",)),
    Line("early", events.repeat_the_outcome),
    Line("owed", events.repeat_the_outcome),
    Line("settled", events.repeat_the_outcome),
    Line("claimed", events.settle, SETTLED),
    Line("claimed", events.release, {"claim": None, "wake_at": In(4 * GRACE)}),
    Line("claimed", events.overrule, OVERRULED, ("undeliverable",)),
    Line("timed_out", events.answer_timeout, ANSWERED, ("timeout_answered",)),
    Line("started", events.retry, RETRY, ("retried",)),
    Line("claimed", events.retry, RETRY, ("retried",)),
    Line("started", events.replace, NEXT, ("replaced",)),
    Line("claimed", events.replace, NEXT, ("replaced",)),
    Line("parked", events.rerun, NEXT, ("rerun",)),
    Line("timed_out", events.rerun, NEXT, ("rerun",)),
    Line("cancelled", events.rerun, NEXT, ("rerun",)),
    Line("pending", events.start_again),
    Line("parked", events.start_again),
    Line("settled", events.start_again),
    Line("parked", events.start_as_replacement),
    Line("continued", events.start_again),
    Line("continued", events.start_as_replacement, NEXT, ("continued",), sends=True),
    Line("pending", events.set_wake, {"due_at": In(GRACE), "wake_at": In(GRACE)}),
    Line("started", events.save_reference, {"reference": "r-1"}),
    Line("early", events.save_reference, {"reference": "r-1"}),
    Line("started", events.save_meta, {"meta": {"said": "by the trigger"}}),
    Line("pending", events.extend, {"deadline": In(500), "wake_at": In(500)}, ("extended",)),
    Line("started", events.extend, EXTENDED, ("extended",)),
    Line("parked", events.extend, EXTENDED, ("extended",)),
    Line("parked", events.progress, {"progress": {"current": 1}}),
]


@pytest.mark.parametrize("line", LINES, ids=str)
def test_line(rows: Rows, line: Line) -> None:
    job_id = getattr(rows, line.state)()
    before, noted = rows.get(job_id), rows.events(job_id)

    line.event(rows, before)

    after = rows.get(job_id)
    assert after == {**before, **line.writes}
    assert rows.events(job_id) == [*noted, *line.notes]
    assert rows.sent() == ([(job_id, after["attempt"])] if line.sends else [])


# --- Lines that begin without a row ---------------------------------------------------------------


def test_line_none_apply_async(rows: Rows) -> None:
    result = rows.task.apply_async(("a",), countdown=100, labels=("x",), meta={"k": 1})

    row = rows.get(result.id)
    assert (row["state"], row["attempt"], row["sends"]) == ("PENDING", 1, 0)
    assert (row["kind"], row["claim"], row["started_at"]) == (None, None, None)
    assert (row["created_at"], row["wake_at"]) == (NOW, In(100 + PENDING))
    assert (row["labels"], row["meta"]) == (["x"], {"k": 1})
    assert rows.sent() == [(result.id, 1)]
    assert rows.history(result.id) == []


def test_line_none_apply_async_with_the_broker_away(database_url: str) -> None:
    with closing(Rows(database_url, broker_url=NO_BROKER)) as rows:
        with pytest.raises(OperationalError):
            rows.task.apply_async()

        assert rows.count() == 0


def test_line_none_delivery_without_our_header(rows: Rows) -> None:
    start = rows.get(rows.pending())

    with rows.database.alone() as tx:
        row = attempts.insert_job(
            tx,
            namespace=rows.namespace,
            job_id="by-name",
            start=start,
            state=states.STARTED,
            claim=CLAIM,
            wake_in=TRIGGER,
        )

    assert row is not None
    assert (row["state"], row["attempt"], row["claim"]) == ("STARTED", 1, CLAIM)
    assert (row["started_at"], row["wake_at"]) == (NOW, In(TRIGGER))


def test_line_none_delivery_with_our_header(rows: Rows) -> None:
    assert rows.take("rolled-back", attempt=1) is None
    assert rows.count() == 0


# --- The whole product ----------------------------------------------------------------------------

OPEN = ["decide", "decide_many", "expire", "extend", "progress"]
OF_THE_TRIGGER = ["decide_own", "lose", "park", "save_meta", "save_reference"]
OF_THE_CLAIM = ["overrule", "release", "replace", "retry", "settle"]

#: The events that leave a trace in a state, where each has the claim and the attempt right.
WRITES = {
    "pending": [*OPEN, "deliver", "redeliver", "set_wake", "take_back"],
    "retry": [*OPEN, "deliver", "redeliver", "set_wake"],
    "started": [*OPEN, *OF_THE_TRIGGER, "redeliver", "replace", "retry"],
    "early": ["deliver", "end_own_trigger", "redeliver", "save_reference"],
    "parked": [*OPEN, "rerun"],
    "owed": ["deliver", "end_own_trigger", "redeliver"],
    "claimed": OF_THE_CLAIM,
    "timed_out": [*OF_THE_CLAIM, "answer_timeout", "rerun"],
    "continued": [*OF_THE_CLAIM, "save_reference", "start_as_replacement"],
    "settled": [],
    "cancelled": ["rerun"],
}
ALL_EVENTS: dict[str, Event] = {
    name: getattr(events, name)
    for name in sorted(
        {*OPEN, *OF_THE_TRIGGER, *OF_THE_CLAIM, "answer_timeout", "deliver", "end_own_trigger"}
        | {"redeliver", "rerun", "set_wake", "start_again", "start_as_replacement", "take_back"}
    )
}
#: Events that need no claim of their own.
OF_ANYBODY = [*OPEN, "deliver", "end_own_trigger", "redeliver", "rerun", "set_wake"]
OF_ANYBODY += ["start_again", "start_as_replacement", "take_back"]
#: Events that name no attempt.
OF_ANY_ATTEMPT = ["expire", "start_again", "start_as_replacement", "take_back"]


def leaves_a_trace(rows: Rows, event: Event, job_id: str, **as_seen: Any) -> bool:
    """Whether the event changes the row, which it sees with ``as_seen``, or the history."""
    before, noted = rows.get(job_id), rows.events(job_id)
    event(rows, {**before, **as_seen})
    return rows.find(job_id) != before or rows.events(job_id) != noted


@pytest.mark.parametrize("state", WRITES)
def test_an_event_without_a_line_writes_nothing(rows: Rows, state: str) -> None:
    make = getattr(rows, state)
    wrote = [name for name, event in ALL_EVENTS.items() if leaves_a_trace(rows, event, make())]
    assert wrote == sorted(WRITES[state])


@pytest.mark.parametrize("state", WRITES)
def test_an_event_of_another_attempt_writes_nothing(rows: Rows, state: str) -> None:
    of_an_attempt = {n: e for n, e in ALL_EVENTS.items() if n not in OF_ANY_ATTEMPT}
    job_id = getattr(rows, state)()
    attempt = rows.get(job_id)["attempt"]
    wrote = [
        (name, seen)
        for name, event in of_an_attempt.items()
        for seen in (attempt - 1, attempt + 1)
        if leaves_a_trace(rows, event, job_id, attempt=seen)
    ]
    assert wrote == []


@pytest.mark.parametrize("state", ["started", "claimed", "timed_out", "continued"])
def test_an_event_of_another_worker_writes_nothing(rows: Rows, state: str) -> None:
    job_id = getattr(rows, state)()
    seen = rows.get(job_id)
    rows.write(job_id, claim="another worker")
    claimed = {name: event for name, event in ALL_EVENTS.items() if name not in OF_ANYBODY}
    wrote = [
        name
        for name, event in claimed.items()
        if leaves_a_trace(rows, event, job_id, claim=seen["claim"])
    ]
    assert wrote == []
