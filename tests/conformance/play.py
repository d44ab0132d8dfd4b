"""Plays canvases on one worker, both kinds of each at the same time, and says what was seen."""

from __future__ import annotations

import json
import re
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from celery import Celery
from celery.exceptions import CPendingDeprecationWarning
from celery.result import AsyncResult, GroupResult, ResultBase

from celery_external import External, Job, get_external, states
from tests.conformance.cases import Case, Steps
from tests.conformance.combinations import Combination
from tests.conformance.facts import EXTERNAL, KINDS, ORDINARY, answer, show
from tests.processes import Worker
from tests.systems import let_results_go, load_app
from tests.waiting import wait_for

APP = "tests.conformance.app"
#: Seconds for all the canvases of a combination, and for nothing to happen to any of them.
TIMEOUT = 150.0
PATIENCE = 15.0
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


@dataclass(slots=True)
class Playing:
    """One canvas, started."""

    case: Case
    kind: str
    result: AsyncResult[Any] | GroupResult
    scratch: Path
    signalled: list[Job] = field(default_factory=list)

    @property
    def run(self) -> str:
        """What its tasks call it."""
        return name_run(self.case, self.kind)

    @property
    def events(self) -> list[dict[str, Any]]:
        """What its tasks wrote down until now."""
        path = self.scratch / f"{self.run}.jsonl"
        text = path.read_text() if path.exists() else ""
        # A line without its end is still being written.
        return [json.loads(line) for line in text.splitlines(keepends=True) if line[-1] == "\n"]

    @property
    def size(self) -> int:
        """How much they wrote."""
        path = self.scratch / f"{self.run}.jsonl"
        return path.stat().st_size if path.exists() else 0

    @property
    def next_signal(self) -> str | None:
        """The name of the job that is to be signalled next."""
        done = len(self.signalled)
        signals = self.case.signals if self.kind == EXTERNAL else ()
        return signals[done] if done < len(signals) else None

    @property
    def ended(self) -> set[str]:
        """The names of the tasks and errbacks that have ended."""
        return {event["name"] for event in self.events if _is_end(event)}

    def describe(self) -> str:
        """What it waits for."""
        missing = " ".join(sorted(self.case.ends - self.ended))
        return f"next signal: {self.next_signal}; not ended: {missing or 'its result'}"


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of one canvas.

    Attributes:
        stuck: What it waited for in vain.
        facts: What must be the same of both kinds.
        jobs: Its external jobs.
        ends: The states in which Celery saw them end, by name.
        log: What the worker logged of it.
    """

    stuck: str | None
    facts: Mapping[str, Any]
    jobs: Sequence[Job]
    ends: Mapping[str, str]
    log: str


class Stage:
    """A worker with its app, and the app here."""

    def __init__(self, combination: Combination, env: Mapping[str, str]) -> None:
        self.combination = combination
        self.scratch = Path(env["SCRATCH"])
        self.worker = Worker(APP, env=env, concurrency=combination.processes)
        self.app: Celery = load_app(env, APP).app
        self.external: External = get_external(self.app)
        #: Knows the servers and no task.
        self.bare_app = Celery(
            "bare",
            broker=env["BROKER_URL"],
            backend=env["RESULT_URL"] or None,
            set_as_current=False,
        )

    def play(self, cases: Sequence[Case]) -> dict[str, Seen]:
        """Start all the canvases, signal what parks, wait for every end, and look."""
        with self.worker:
            canvases = [self.start(case, kind) for case in cases for kind in KINDS]
            left = list(canvases)
            patience = _Patience()
            wait_for(
                lambda: not self._advance(left) or patience.is_over(self._count_events(canvases)),
                timeout=TIMEOUT,
                what=f"the canvases on {self.combination} to end",
            )
            if not left:
                wait_for(self._is_idle, what=f"the worker of {self.combination} to be idle")
            log = _read_log(self.worker)
            return {canvas.run: self._look_at(canvas, left, log) for canvas in canvases}

    def start(self, case: Case, kind: str) -> Playing:
        """Send the canvas."""
        app = self.bare_app if case.is_sent_by_name else self.app
        steps = Steps(app, name_run(case, kind), kind)
        with self._header_errbacks(on=case.header_errbacks):
            result = case.build(steps).apply_async()
        return Playing(case, kind, result, self.scratch)

    def close(self) -> None:
        """Let go of connections."""
        for app in (self.app, self.bare_app):
            _close_app(app)
        self.external._installation.database.dispose()  # noqa: SLF001 - the tests' own clean-up

    @contextmanager
    def _header_errbacks(self, *, on: bool) -> Iterator[None]:
        """Celery reads the setting where the canvas is built, and warns of its default."""
        self.app.conf.task_allow_error_cb_on_chord_header = on
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", CPendingDeprecationWarning)
            try:
                yield
            finally:
                self.app.conf.task_allow_error_cb_on_chord_header = False

    # --- Going on ---

    def _advance(self, left: list[Playing]) -> list[Playing]:
        """Give each canvas its next signal, if that is due; returns what is still under way."""
        parked = {
            (job.meta["run"], job.meta["name"]): job
            for job in self.external.find_jobs(state=states.PARKED, limit=1000)
        }
        for canvas in left:
            self._signal_next(canvas, parked)
        left[:] = [canvas for canvas in left if not self._is_done(canvas)]
        return left

    def _count_events(self, canvases: Sequence[Playing]) -> int:
        return sum(len(canvas.signalled) + canvas.size for canvas in canvases)

    def _signal_next(self, canvas: Playing, parked: Mapping[tuple[str, str], Job]) -> None:
        name = canvas.next_signal
        if name is None or not self._is_handed_on(canvas):
            return
        found = parked.get((canvas.run, name))
        if found is None:
            return
        job = self.external.get_job(found)
        assert job.args is not None
        assert job.kwargs is not None
        tries = [signalled.meta["name"] for signalled in canvas.signalled].count(name)
        try:
            value = answer(name, job.args, job.kwargs.get("does"), tries)
        except Exception as exc:  # noqa: BLE001 - whatever the case has the task raise
            self.external.signal_failed(job, exc, attempt=job.attempt)
        else:
            self.external.signal_succeeded(job, value, attempt=job.attempt)
        canvas.signalled.append(job)

    def _is_handed_on(self, canvas: Playing) -> bool:
        """Whether Celery has been told of the last signal: the order of two is certain then."""
        if not canvas.signalled:
            return True
        last = canvas.signalled[-1]
        now = self.external.get_job(last)
        return now.attempt > last.attempt or now.settled

    def _is_done(self, canvas: Playing) -> bool:
        if canvas.next_signal is not None or not canvas.case.ends <= canvas.ended:
            return False
        if not self._is_handed_on(canvas):
            return False
        # The others' results are stored before their tasks end, and rpc gives each but once.
        needs_result = self.combination.has_shared_results and canvas.case.keeps_result
        result: Any = canvas.result
        return not needs_result or result.ready()

    def _is_idle(self) -> bool:
        """Whether nothing is left that could still write something down."""
        for _ in range(2):  # a message may be on its way from the broker to the worker
            inspect = self.app.control.inspect(
                destination=[self.worker.hostname], timeout=10, limit=1
            )
            for found in (inspect.reserved(), inspect.scheduled(), inspect.active()):
                if found is None or any(found.values()):
                    return False
            with self.app.connection_for_read() as connection:
                channel = connection.default_channel
                queue: Any = self.app.amqp.queues["celery"].bind(channel)
                if queue.queue_declare().message_count:
                    return False
        return True

    # --- Looking ---

    def _look_at(
        self, canvas: Playing, left: Sequence[Playing], log: Mapping[str, Sequence[str]]
    ) -> Seen:
        names = _names_of(canvas)
        labels = _Labels(canvas, names)
        facts: dict[str, Any] = {"events": _read_events(canvas, labels)}
        if canvas.case.is_sequential and self.combination.processes == 1:
            facts["order"] = [f"{event['name']} {event['event']}" for event in canvas.events]
        if self._shows_result(canvas):
            facts["get"] = _get(canvas.result)
            facts["result"] = self._look_at_result(canvas.result)
        if self.combination.has_shared_results:
            facts["tasks"] = {
                name: self._look_at_task(self.app.AsyncResult(task_id))
                for task_id, name in names.items()
            }
        if canvas.case.loses_children:
            facts = _drop_children(facts)
        jobs = self.external.find_jobs(meta={"run": canvas.run}, order="created", limit=100)
        return Seen(
            stuck=canvas.describe() if canvas in left else None,
            facts=labels.put_on(show(facts)),
            jobs=list(jobs),
            ends={job.meta["name"]: _read_end(canvas, job) for job in jobs},
            log="\n".join(
                line
                for task_id in dict.fromkeys([*names, *(job.id for job in jobs)])
                for line in log.get(task_id, ())
            ),
        )

    def _shows_result(self, canvas: Playing) -> bool:
        """Whether the caller ever gets a result."""
        if self.combination.backend == "rpc" and canvas.case.is_replaced:
            return False  # Celery sends it to the worker that published the replacement
        return self.combination.has_results and canvas.case.keeps_result

    def _look_at_result(self, result: ResultBase | None) -> Any:
        """The tree of results that the caller holds."""
        if result is None:
            return None
        parent = self._look_at_result(result.parent)
        if isinstance(result, GroupResult):
            members = [self._look_at_result(member) for member in result.results or ()]
            return {"group": members, "parent": parent}
        assert isinstance(result, AsyncResult)
        if self.combination.backend == "rpc":
            result.get(timeout=10, propagate=False)  # its message is taken in by nobody else
        return {"id": result.id, **self._look_at_task(result), "parent": parent}

    def _look_at_task(self, result: AsyncResult[Any]) -> dict[str, Any]:
        seen = {"state": result.state, "value": result.result}
        return {**seen, "children": [_outline(child) for child in result.children or ()]}


def _read_end(canvas: Playing, job: Job) -> str:
    """How a job ended for Celery; one that a plain task has replaced has done its part."""
    ends = [
        str(event["status"])
        for event in canvas.events
        if event["event"] == "after_return" and event["name"] == job.meta["name"]
    ]
    return ends[-1] if ends else states.SUCCESS


def _read_log(worker: Worker) -> dict[str, list[str]]:
    """What the worker logged of each task."""
    lines: dict[str, list[str]] = defaultdict(list)
    for line in worker.log().splitlines():
        for task_id in dict.fromkeys(UUID.findall(line)):
            lines[task_id].append(line)
    return lines


class _Patience:
    """Ends when nothing at all has happened for a while."""

    def __init__(self) -> None:
        self._count = -1
        self._since = 0.0

    def is_over(self, count: int) -> bool:
        now = time.monotonic()
        if count != self._count:
            self._count, self._since = count, now
        return now - self._since > PATIENCE


def _close_app(app: Celery) -> None:
    """Cut its connections, which Celery leaves to the garbage collector."""
    let_results_go(app)
    backend: Any = app.backend
    consumer: Any = getattr(backend, "result_consumer", None)
    if getattr(consumer, "_consumer", None) is not None:  # of rpc, where somebody waited
        consumer.stop()
    pool: Any = app.pool
    pool.force_close_all()
    app.close()


def name_run(case: Case, kind: str) -> str:
    """What the tasks of a canvas call it."""
    return f"{case}.{kind}"


def _is_end(event: Mapping[str, Any]) -> bool:
    if event["event"] == "after_return":
        return bool(event["status"] != states.RETRY)
    return bool(event["event"] == "errback")


def _get(result: Any) -> Any:
    """What a caller gets or is raised."""
    try:
        return {"got": result.get(timeout=10)}
    except Exception as exc:  # noqa: BLE001 - whatever the canvas raises
        return exc.with_traceback(None)  # it is kept, and would keep the result


def _outline(result: Any) -> Any:
    if isinstance(result, GroupResult):
        return [_outline(member) for member in result.results or ()]
    # Of a task that has not ended, some backends give the children as they are stored.
    return result.id if isinstance(result, AsyncResult) else result


def _drop_children(facts: Any) -> Any:
    if isinstance(facts, dict):
        return {key: _drop_children(item) for key, item in facts.items() if key != "children"}
    return facts


def _names_of(canvas: Playing) -> dict[str, str]:
    """The names of the tasks by id; a task that replaces another one has the same id."""
    names: dict[str, list[str]] = defaultdict(list)
    for event in canvas.events:
        if event["id"] is not None and event["name"] not in names[event["id"]]:
            names[event["id"]].append(event["name"])
    return {task_id: "=".join(found) for task_id, found in names.items()}


def _read_events(canvas: Playing, labels: _Labels) -> dict[str, list[list[Any]]]:
    """By name, what happened to each task of it, in order; tasks side by side have none."""
    # A retry may be run by one process before another has called the hooks of the try before it.
    tries: dict[tuple[str, str, int], list[Any]] = defaultdict(list)
    for event in canvas.events:
        if canvas.case.needs_chords:
            # Both come to a body from the member that happened to end last.
            for name in ("root", "parent"):
                event.get("message", {}).pop(name, None)
        which = (event["name"], event["id"] or event["of"], event.get("tries", 0))
        tries[which].append(labels.put_on(event))
    events: dict[str, list[list[Any]]] = defaultdict(list)
    for (name, _, _), found in tries.items():
        events[name].append(found)
    return {name: sorted(found, key=json.dumps) for name, found in events.items()}


class _Labels:
    """Puts names in the place of what differs from run to run."""

    def __init__(self, canvas: Playing, names: Mapping[str, str]) -> None:
        self._canvas = canvas
        self._names = names

    def put_on(self, value: Any) -> Any:
        if isinstance(value, dict):
            return {self.put_on(key): self.put_on(item) for key, item in value.items()}
        if isinstance(value, list):
            return [self.put_on(item) for item in value]
        return self._label(value) if isinstance(value, str) else value

    def _label(self, text: str) -> str:
        text = UUID.sub(lambda found: f"<{self._names.get(found[0], 'id')}>", text)
        text = text.replace(self._canvas.run, "<run>")
        return text.replace(f"{EXTERNAL}.", f"{ORDINARY}.")
