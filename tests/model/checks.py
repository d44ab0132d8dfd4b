"""Whether a job is as the model has it, and what must hold whatever the model says."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import note

from tests.model.values import MAX_SENDS, OWN_ERROR, PARKING, RAISED, STATES, Delivery, Job
from tests.model.world import Delivery as RealDelivery
from tests.model.world import World

#: How far the row's times may be from the model's (seconds).
TOLERANCE = 20


class Tracked:
    """A job in the model, with its id and what was seen of it before."""

    def __init__(self, job_id: str, number: int, modelled: Job) -> None:
        self.id = job_id
        self.name = f"job {number}"
        self.model = modelled
        self.outcomes: dict[int, tuple[Any, ...]] = {}
        self.last: tuple[int, bool] = (1, False)
        self.steps: set[str] = set()
        self.claims: dict[int, str] = {}

    def __repr__(self) -> str:
        return self.name

    def attempt(self, offset: int | None) -> int | None:
        """The number of an attempt: so far from the open one."""
        return None if offset is None else max(1, self.model.attempt + offset)

    def compare(self, world: World, row: Any, history: list[tuple[str, int]]) -> None:
        """The row, the history and what was sent, with the model's."""
        found, expected = shown(row), self._expected()
        if expected["reason"] is ...:
            del expected["reason"], found["reason"]
        differences = {n: (found[n], expected[n]) for n in found if found[n] != expected[n]}
        assert not differences, f"{self}: as it is, and as it should be: {differences}"
        self._check_times(world, row)
        self._check_claim(row)
        assert history == self.model.history, self
        counts = {attempt: count for attempt, count in self.model.sent.items() if count}
        assert not counts, f"{self}: messages that are missing (or too many: negative)"
        assert not self.model.went_on, f"{self}: next steps that are missing"
        assert not self.model.told, f"{self}: what Celery was not told"
        self._check_what_always_holds(row)

    def _expected(self) -> dict[str, Any]:
        expected = self.model
        kind = expected.answer or expected.kind
        has_other_words = expected.raises or kind == "continued"
        return {
            "state": expected.state,
            "attempt": expected.attempt,
            "kind": expected.kind,
            "answer": expected.answer,
            "settled": expected.settled,
            "sends": expected.sends,
            "result": expected.result if kind == "succeeded" else None,
            "reason": ... if has_other_words else expected.reason,
            "by": expected.by,
            "reference": expected.reference,
            "parked": expected.parked,
        }

    def _check_times(self, world: World, row: Any) -> None:
        expected = self.model
        times = {"wake_at": expected.wake, "deadline": expected.deadline}
        if expected.kind is None:
            times |= {"due_at": expected.due, "expires_at": expected.expires}
        times["completed_at"] = expected.completed
        for name, wanted in times.items():
            found = world.seconds(row[name])
            is_near = (
                found is wanted
                if found is None or wanted is None
                else abs(found - wanted) < TOLERANCE
            )
            assert is_near, f"{self}: {name} is {found}, not {wanted}"

    def _check_claim(self, row: Any) -> None:
        holder = self.model.claim
        if holder is None:
            assert row["claim"] is None, f"{self}: {row['claim']} holds it"
        else:
            known = self.claims.setdefault(holder.number, row["claim"])
            assert row["claim"] == known is not None, f"{self}: not held by {holder.number}"
            assert len(set(self.claims.values())) == len(self.claims)

    def _check_what_always_holds(self, row: Any) -> None:
        attempt, kind = row["attempt"], row["kind"]
        was_attempt, was_settled = self.last
        is_settled = kind is not None and row["wake_at"] is None
        assert attempt >= was_attempt
        assert is_settled or not (was_settled and attempt == was_attempt), f"{self} was settled"
        self.last = attempt, is_settled
        words = [event for event, of in self.model.history if of == attempt]
        # An attempt that comes back from a canvas begins with "continued".
        outcomes = [event for event in words if event in STATES and event != "continued"]
        assert len(outcomes) <= 1, f"{self} has two outcomes"
        if kind is None:
            waits = row["deadline"] or row["due_at"]
            assert row["wake_at"] or not waits or row["sends"] > MAX_SENDS
            return
        if not {"timeout_answered", "undeliverable"} & set(words):
            said = (kind, row["outcome"], row["reason"], row["completed_by"], row["completed_at"])
            assert self.outcomes.setdefault(attempt, said) == said, f"{self}'s outcome has changed"
        assert row["wake_at"] or not row["claim"], f"{self} is held for ever"


class Pair:
    """A delivery in both worlds."""

    def __init__(self, real: RealDelivery, modelled: Delivery, job: Tracked) -> None:
        self.real = real
        self.model = modelled
        self.job = job

    def __repr__(self) -> str:
        return f"delivery {self.model.number} of {self.job}, attempt {self.model.attempt}"

    def catch_up(self) -> None:
        """Both stand at the same place; the row had gone before the real one came to the park."""
        while self.real.at == PARKING != self.model.at:
            self.real.go("")
        note(f"  {self}: {self.real.at}")
        assert self.real.at == self.model.at, f"{self} stands {self.real.at}"


def shown(row: Any) -> dict[str, Any]:
    """What a row says, in the model's words."""
    succeeded = (row["answer"] or row["kind"]) == "succeeded"
    return {
        "state": row["state"],
        "attempt": row["attempt"],
        "kind": row["kind"],
        "answer": row["answer"],
        "settled": row["kind"] is not None and row["wake_at"] is None,
        "sends": row["sends"],
        "result": json.loads(row["outcome"]) if succeeded else None,
        "reason": row["reason"],
        "by": row["completed_by"],
        "reference": row["reference"],
        "parked": row["parked_at"] is not None,
    }


def account(known: dict[str, Tracked], world: World) -> None:
    """Strike off what was sent, and what Celery was told."""
    for (job_id, attempt), number in world.new_messages().items():
        known[job_id].model.sent[attempt] -= number
    for step_id, job_id in world.new_steps():
        _strike_off_step(known, step_id, job_id)
    while world.told:
        job_id, state, value = world.told.pop(0)
        if state == "FAILURE" and value not in RAISED.values():
            value = OWN_ERROR
        known[job_id].model.told.remove((state, value))


def _strike_off_step(known: dict[str, Tracked], step_id: str, job_id: str) -> None:
    """A message of a next step has come: in the job's place, or after it."""
    if step_id in known:
        known[step_id].model.went_on.remove("step")
        return
    job = known[job_id]
    job.model.went_on.remove("link")
    job.steps.add(step_id)
    assert len(job.steps) == 1, f"the next step of {job} was sent as different tasks"
