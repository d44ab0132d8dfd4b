"""What may happen to jobs, in any order: each rule does it to the real thing and to the model."""

from __future__ import annotations

import sys
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

from hypothesis import note
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)

from celery_external import (
    ExternalError,
    Failed,
    JobAlreadyCompletedError,
    Receipt,
    RerunRefusedError,
    StaleAttemptError,
    Succeeded,
)
from tests.model import values
from tests.model.checks import Pair, Tracked, account
from tests.model.model import Model
from tests.model.values import PARKING, PUBLISHING, TELLING, TIMEOUT, TRIGGER, Call
from tests.model.world import World

#: Far enough from any time that means something, for a machine that is slow (seconds).
MARGIN = 30
MAX_JOBS = 4
OPEN: Callable[[values.Job], bool] = lambda job: job.kind is None  # noqa: E731

#: Of the attempts: none named, the open one, an old one, one that is still to come.
attempts = st.sampled_from([None, None, 0, 0, -1, 1])
maybe = st.booleans()
numbers = st.integers(0, 11)
#: How a delivery may go on, by where it stands.
WAYS = {
    TRIGGER: (
        "return", "retry", "succeed", "fail", "raise", "replace", "step", "retry_quietly",
        "ignore", "reject", "refer", "return",
    ),
    PARKING: ("on",),
    TIMEOUT: ("default", "answer", "raise", "replace", "step"),
    PUBLISHING: ("on",),
    TELLING: ("told", "told", "failed", "refused"),
}  # fmt: skip
#: What callers say, by a name for the report.
WORDS: dict[str, tuple[str, dict[str, Any]]] = {
    "1 by alice": ("succeeded", {"result": 1, "by": "alice"}),
    "1 by bob": ("succeeded", {"result": 1, "by": "bob"}),
    "2": ("succeeded", {"result": 2}),
    "no": ("failed", {"reason": "no", "by": "bob"}),
    "never": ("failed", {"reason": "never"}),
    "off": ("cancelled", {"by": "eve"}),
}


class Machine(RuleBasedStateMachine):
    """Any number of things happen to a few jobs."""

    def __init__(self, world: World) -> None:
        super().__init__()
        self.world = world
        self.model = Model()
        self.jobs: list[Tracked] = []
        self.pairs: list[Pair] = []
        self.running = ExitStack()
        self.running.enter_context(world.example())

    # --- A caller ---

    @initialize(retried=maybe)
    def begin(self, retried: bool) -> None:  # noqa: FBT001
        self._start(Call(retried=retried), None, 0)

    @precondition(lambda self: len(self.jobs) < MAX_JOBS)
    @rule(
        retried=maybe,
        limits=st.tuples(st.sampled_from([500, None]), st.sampled_from([None, 200])),
        deadline=st.sampled_from([None, 2000]),
        expires=st.sampled_from([None, 1000, 2500]),
        countdown=st.sampled_from([0, 700]),
    )
    def start(
        self,
        *,
        retried: bool,
        limits: tuple[float | None, float | None],
        deadline: float | None,
        expires: float | None,
        countdown: float,
    ) -> None:
        moment = None if deadline is None else self.model.now + deadline
        self._start(Call(retried, *limits, moment), expires, countdown)

    def _start(self, call: Call, expires: float | None, countdown: float) -> None:
        result = self.world.tasks[call.retried].apply_async(
            link=self.world.step.s(),
            timeout=call.timeout,
            heartbeat_timeout=call.heartbeat,
            deadline=self.world.at(call.deadline),
            expires=expires,
            countdown=countdown,
        )
        modelled = self.model.start(call, expires=expires, countdown=countdown)
        self.jobs.append(Tracked(result.id, len(self.jobs) + 1, modelled))

    def _job(self, number: int, fits: Callable[[values.Job], bool] = bool) -> Tracked:
        """One of the jobs, rather one that fits: most rules do nothing to the others."""
        fitting = [job for job in self.jobs if fits(job.model)]
        found = (fitting if fitting and number % 4 else self.jobs)[number % len(fitting or [0])]
        note(f"  {found}")
        return found

    @rule(number=numbers, as_step=maybe)
    def start_again(self, number: int, as_step: bool) -> None:  # noqa: FBT001
        """The id once more; or as the last step of the canvas that has replaced the job."""
        job = self._job(number, lambda job: "continued" in {job.kind, job.answer})
        options = {"replaced_task_nesting": 1} if as_step else {}
        self.world.tasks[False].apply_async(task_id=job.id, **options)
        if as_step:
            self.model.come_back(job.model)

    @rule(number=numbers, word=st.sampled_from(sorted(WORDS)), offset=attempts)
    def signal(self, number: int, word: str, offset: int | None) -> None:
        job = self._job(number, OPEN)
        attempt = job.attempt(offset)
        kind, said = WORDS[word]
        call: dict[str, Callable[..., Any]] = {
            "succeeded": self.world.external.signal_succeeded,
            "failed": self.world.external.signal_failed,
            "cancelled": self.world.external.cancel_job,
        }
        self._expect(
            self.model.signal(job.model, attempt, kind, **said),
            lambda: call[kind](job.id, **said, attempt=attempt),
        )

    @rule(said=st.lists(st.tuples(numbers, maybe), min_size=1, max_size=3))
    def signal_many(self, said: list[tuple[int, bool]]) -> None:
        words = [(self._job(number), good) for number, good in said]
        receipts = self.world.external.signal_many(
            [(job.id, Succeeded(1) if good else Failed("no")) for job, good in words], by="carol"
        )
        expected = [
            self.model.signal(job.model, None, "succeeded", result=1, by="carol")
            if good
            else self.model.signal(job.model, None, "failed", reason="no", by="carol")
            for job, good in words
        ]
        assert [told(receipt) for receipt in receipts] == expected

    @rule(number=numbers, seconds=st.sampled_from([None, 150, 5000]), offset=attempts)
    def report_or_extend(self, number: int, seconds: float | None, offset: int | None) -> None:
        job = self._job(number, OPEN)
        attempt, external = job.attempt(offset), self.world.external
        if seconds is None:
            self._expect(
                self.model.progress(job.model, attempt),
                lambda: external.signal_progress(job.id, 1, attempt=attempt),
            )
        else:
            self._expect(
                self.model.extend(job.model, attempt, seconds),
                lambda: external.extend_job(job.id, timeout=seconds, attempt=attempt),
            )

    @rule(number=numbers)
    def rerun(self, number: int) -> None:
        job = self._job(number, lambda job: job.kind is not None)
        self._expect(self.model.rerun(job.model), lambda: self.world.external.rerun_job(job.id))

    def _expect(self, expected: Any, call: Callable[[], Any]) -> None:
        try:
            found = call()
        except (JobAlreadyCompletedError, RerunRefusedError, StaleAttemptError) as exc:
            found = exc
        note(f"  told {told(found)}")
        assert told(found) == expected

    # --- Time ---

    @rule(number=st.integers(0, 3))
    def time_passes(self, number: int) -> None:
        """Until after one of the next times that mean something."""
        ahead = [moment for moment in self.model.moments() if moment > self.model.now]
        if ahead:
            self._set_clock(ahead[min(number, len(ahead) - 1)])

    def _set_clock(self, after: float) -> None:
        moment = after + 2 * MARGIN
        while any(abs(moment - known) < MARGIN for known in self.model.moments()):
            moment += MARGIN
        self.model.now = moment
        self.world.set_clock(moment)
        note(f"  it is {moment:g}")

    @precondition(lambda self: any(self.model.passed(job.wake) for job in self.model.jobs))
    @rule()
    def sweep(self) -> None:
        expected = self.model.sweep()
        assert self.world.external.sweep() == expected

    # --- Workers ---

    @rule(number=numbers)
    def deliver(self, number: int) -> None:
        job = self._job(number, lambda job: job.claim is None and job.state != "PARKED")
        self._deliver(job, job.model.attempt)

    @rule(number=numbers, back=st.sampled_from([0, 0, 1, 2]))
    def redeliver(self, number: int, back: int) -> None:
        job = self._job(number, lambda job: job.state == "STARTED" and job.kind is None)
        self._deliver(job, job.model.attempt - back, redelivered=True)

    @precondition(lambda self: any(job.model.attempt > 1 for job in self.jobs))
    @rule(number=numbers, back=st.sampled_from([1, 2]))
    def deliver_late(self, number: int, back: int) -> None:
        job = self._job(number, lambda job: job.attempt > 1)
        self._deliver(job, job.model.attempt - back)

    @rule(number=numbers, back=st.sampled_from([0, 0, 1]))
    def deliver_revoked(self, number: int, back: int) -> None:
        job = self._job(number, OPEN)
        self._deliver(job, job.model.attempt - back, revoked=True)

    def _deliver(
        self, job: Tracked, attempt: int, *, redelivered: bool = False, revoked: bool = False
    ) -> None:
        attempt = max(1, attempt)
        options = {"redelivered": redelivered, "revoked": revoked}
        modelled = self.model.deliver(job.model, attempt, **options)
        real = self.world.deliver(job.id, attempt, **options)
        self.pairs.append(Pair(real, modelled, job))
        self.pairs[-1].catch_up()

    def _standing(self) -> list[Pair]:
        return [pair for pair in self.pairs if pair.model.at in WAYS and not pair.model.dead]

    def _go_on(self, pair: Pair, how: str) -> None:
        """The delivery goes on from where it stands."""
        note(f"  {pair}, {pair.model.at}: {how}")
        if how == "refer":
            if pair.model.is_running():
                pair.job.model.reference = f"{pair.job.id} {pair.model.attempt}"
        elif pair.model.at == TRIGGER:
            self.model.end_trigger(pair.model, how)
        elif pair.model.at == TIMEOUT:
            self.model.answer(pair.model, how)
        elif pair.model.at == TELLING:
            self.model.tell(pair.model, how)
        else:
            self.model.carry_on(pair.model)
        pair.real.go(how)
        pair.catch_up()

    @precondition(lambda self: self._standing())
    @rule(number=numbers, way=numbers)
    def a_delivery_goes_on(self, number: int, way: int) -> None:
        pair = self._standing()[number % len(self._standing())]
        ways = WAYS[pair.model.at]
        self._go_on(pair, ways[way % len(ways)])

    @precondition(lambda self: self._standing())
    @rule(way=numbers)
    def the_last_delivery_goes_on(self, way: int) -> None:
        pair = self._standing()[-1]
        ways = WAYS[pair.model.at]
        self._go_on(pair, ways[way % len(ways)])

    @precondition(lambda self: self._standing())
    @rule(number=numbers, noticed=maybe)
    def process_dies(self, number: int, noticed: bool) -> None:  # noqa: FBT001
        pair = self._standing()[number % len(self._standing())]
        note(f"  {pair}, {pair.model.at}")
        pair.model.dead = True
        if noticed:
            self.model.lose(pair.model)
            self.world.lose(pair.real)

    # --- What must hold ---

    @invariant()
    def both_are_the_same(self) -> None:
        rows, lines = self.world.rows(), self.world.histories()
        known = {job.id: job for job in self.jobs}
        account(known, self.world)
        assert rows.keys() == known.keys()
        for job in self.jobs:
            job.compare(self.world, rows[job.id], lines.get(job.id, []))

    # --- The end ---

    def teardown(self) -> None:
        with self.running:
            if self.jobs and sys.exc_info()[0] is None:
                self._come_to_rest()

    def _come_to_rest(self) -> None:
        """Whoever lives goes on, time passes, what was sent is delivered: nothing is left."""
        note("the end")
        handed_out: dict[tuple[str, int], int] = {}
        for _ in range(40):
            self._finish_deliveries()
            self.both_are_the_same()
            for job in self.jobs:
                key = job.id, job.model.attempt
                if key in self.world.messages and self._is_new(handed_out, *key):
                    self._deliver(job, job.model.attempt)
            self._finish_deliveries()
            self.both_are_the_same()
            waiting = [job.model for job in self.jobs if job.model.wake is not None]
            if not waiting:
                break
            self._set_clock(max(self.model.now, *(job.wake or 0 for job in waiting)))
            self.sweep()
        for job in self.jobs:
            shown_job = self.world.external.get_job(job.id)
            assert shown_job.settled or shown_job.state == "PARKED", f"{job} came to no end"
            assert (shown_job.state, shown_job.kind) == (job.model.state, job.model.kind)

    def _is_new(self, handed_out: dict[tuple[str, int], int], job_id: str, attempt: int) -> bool:
        """Whether the last copy of a message was not delivered yet."""
        last = id(self.world.messages[job_id, attempt])
        is_new = handed_out.get((job_id, attempt)) != last
        handed_out[job_id, attempt] = last
        return is_new

    def _finish_deliveries(self) -> None:
        while standing := self._standing():
            self._go_on(standing[0], WAYS[standing[0].model.at][0])


def told(found: Any) -> Any:
    """What a caller was told, as the model has it."""
    if isinstance(found, Receipt):
        if found.error is not None:
            return type(found.error).__name__
        return found.status, found.early, found.sent
    return type(found).__name__ if isinstance(found, ExternalError) else None
