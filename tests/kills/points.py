"""Where a worker dies, who dies there, what is to be seen then, and how each job ends."""

from __future__ import annotations

from dataclasses import dataclass, field, replace


@dataclass(frozen=True)
class AtDeath:
    """What the row, the result backend and the next step's queue say; no two points agree."""

    state: str
    owed: bool = False
    claimed: bool = False
    attempt: int = 1
    backend: str = "PENDING"
    published: int = 0
    next_row: str | None = None


@dataclass(frozen=True)
class End:
    """How a job ends, and what was to be seen how often on the way."""

    state: str = "SUCCESS"
    backend: str = "SUCCESS"
    triggers: int = 1
    next_steps: int = 1
    errbacks: int = 0
    reason: str = ""


_OUTLIVED = "_outlived"


@dataclass(frozen=True)
class Point:
    """A moment in a job's life.

    Attributes:
        name: Also the queue that its job goes through.
        task: What the job is.
        next_task: What comes after it; ``note_failure`` is its errback.
        at_death: What is to be seen while the process is there, and after its death.
        is_outlived: PostgreSQL executes the statement that the process stopped in after its death.
    """

    name: str
    task: str
    at_death: AtDeath
    next_task: str = "echo"
    is_outlived: bool = False

    def __str__(self) -> str:
        return self.name

    @property
    def place(self) -> str:
        """The name, without what happens after the death."""
        return self.name.removesuffix(_OUTLIVED)


POINTS = (
    Point("before_started", "ask_slowly", AtDeath("PENDING")),
    Point("in_trigger", "ask_slowly", AtDeath("STARTED", claimed=True)),
    Point("signalled_in_trigger", "ask_slowly", AtDeath("SUCCESS", owed=True)),
    Point("before_park", "ask_slowly", AtDeath("STARTED", claimed=True, backend="PARKED")),
    Point("after_park", "ask_slowly", AtDeath("PARKED", backend="PARKED")),
    Point("retried", "retry_when_told", AtDeath("RETRY", attempt=2)),
    Point("decided", "know", AtDeath("SUCCESS", owed=True, claimed=True)),
    Point("claimed", "ask_slowly", AtDeath("SUCCESS", owed=True, claimed=True, backend="PARKED")),
    Point(
        "published",
        "ask_slowly",
        AtDeath("SUCCESS", owed=True, claimed=True, backend="PARKED", published=1),
    ),
    Point(
        "told",
        "ask_slowly",
        AtDeath("SUCCESS", owed=True, claimed=True, backend="SUCCESS", published=1),
    ),
    Point(
        "told_of_failure",
        "ask_slowly",
        AtDeath("FAILURE", owed=True, claimed=True, backend="FAILURE", published=1),
        next_task="note_failure",
    ),
    Point(
        "next_row",
        "ask_slowly",
        AtDeath("SUCCESS", owed=True, claimed=True, backend="PARKED", next_row="PENDING"),
        next_task="ask",
    ),
)


#: The trigger counts as lost: the main process has seen it, or time has told.
LOST = End(
    "FAILURE",
    "FAILURE",
    next_steps=0,
    errbacks=1,
    reason="The process that ran the trigger is gone",
)
LATE = replace(LOST, reason="The trigger did not end within its trigger timeout")

#: Where a job does not end in the usual way, whatever the combination.
ENDS = {
    "decided": End(triggers=0),
    "published": End(next_steps=2),
    "told": End(next_steps=2),
    "told_of_failure": End(
        "FAILURE", "FAILURE", next_steps=2, errbacks=2, reason="told_of_failure"
    ),
    # The next step's trigger, and its own outcome.
    "next_row": End(next_steps=2),
}

#: The same, where the server outlives its client.
OUTLIVED = tuple(
    replace(point, name=point.name + _OUTLIVED, is_outlived=True)
    for point in POINTS
    if point.name in {"before_started", "before_park", "told"}
)


@dataclass(frozen=True)
class Combination:
    """A worker, and who of it dies.

    Attributes:
        dies: The ``whole`` worker, or the ``children`` of its pool alone.
        pool: One of Celery's.
        acks: ``early``, ``late``, ``late_once`` (late, with worker_deduplicate_successful_tasks)
            or ``late_requeued`` (late, with task_reject_on_worker_lost).
        broker: Valkey or RabbitMQ.
        table: PostgreSQL or SQLite.
    """

    dies: str
    pool: str
    acks: str
    broker: str
    table: str
    points: tuple[Point, ...] = field(default=POINTS, repr=False)

    def __str__(self) -> str:
        return f"{self.dies}-{self.pool}-{self.acks}-{self.broker}-{self.table}".lower()

    @property
    def is_redelivered(self) -> bool:
        """Whether the broker delivers what the dead had taken once more.

        A worker with the solo pool acks when its event loop has its turn, which is after the task,
        however early it is told to.
        """
        is_acked = self.acks == "early" and self.pool != "solo"
        return not is_acked and (self.dies == "whole" or self.acks == "late_requeued")

    @property
    def conf(self) -> dict[str, object]:
        """The settings for it."""
        return {
            "task_acks_late": self.acks != "early",
            "worker_deduplicate_successful_tasks": self.acks == "late_once",
            "task_reject_on_worker_lost": self.acks == "late_requeued",
        }

    def end_of(self, point: Point) -> End:
        """How the job of a point ends."""
        if point.name == "before_started_outlived" and not self.is_redelivered:
            # The row says STARTED, nobody has started anything, and who comes first says so.
            return replace(LOST, triggers=0, reason="")
        if point.name in {"in_trigger", "before_park"}:
            lost = LOST if self.dies == "children" else LATE
            return End(triggers=2) if self.is_redelivered else lost
        return ENDS.get(point.name, End())


def _named(*names: str) -> tuple[Point, ...]:
    return tuple(point for point in POINTS if point.name in names)


#: Each of these is a worker of its own: with the solo pool it stops at one point.
SOLO = _named("before_started", "in_trigger", "before_park", "after_park", "claimed", "told")
SOLO_EARLY = _named("in_trigger", "told")
#: On SQLite one thread of a process at a time executes statements, so it stops in one of them.
THREADS_ON_SQLITE = tuple(
    p for p in POINTS if p.name not in {"before_started", "before_park", "told_of_failure"}
)

#: Pools, acks, brokers and databases in pairs, each with every point that it can be at.
COMBINATIONS = (
    Combination("whole", "prefork", "late", "Valkey", "PostgreSQL", POINTS + OUTLIVED),
    Combination("whole", "prefork", "early", "RabbitMQ", "SQLite"),
    Combination("children", "prefork", "late", "RabbitMQ", "SQLite"),
    Combination("children", "prefork", "early", "Valkey", "PostgreSQL", POINTS + OUTLIVED),
    Combination("children", "prefork", "late_requeued", "Valkey", "SQLite"),
    Combination("whole", "threads", "late_once", "Valkey", "SQLite", THREADS_ON_SQLITE),
    Combination("whole", "threads", "early", "RabbitMQ", "PostgreSQL"),
    Combination("whole", "solo", "late_once", "RabbitMQ", "PostgreSQL", SOLO),
    Combination("whole", "solo", "early", "Valkey", "SQLite", SOLO_EARLY),
)
