"""One soak from beginning to end: chaos, then calm, then the ledger and the search for leaks."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from tests.soak import leaks
from tests.soak.chaos import Chaos
from tests.soak.ledger import Ledger
from tests.soak.world import Combination, World
from tests.waiting import wait_for

#: In calm, a process may grow by this, caches warm: less than a byte a job would be none.
MOST = leaks.Size(mebibytes=8, files=3, threads=1, objects=2000)
NOTHING = leaks.Size(mebibytes=0, files=0, threads=0)


@dataclass
class Soak:
    """What a soak has shown."""

    combination: Combination
    seed: int
    killed: Counter[str] = field(default_factory=Counter)
    ledger: Ledger | None = None
    left: list[str] = field(default_factory=list)
    #: Of the process that grew most, while so many jobs ran.
    grown: leaks.Size = NOTHING
    calm_jobs: int = 0

    @property
    def faults(self) -> list[str]:
        """Everything that must not be."""
        return [*(self.ledger.faults if self.ledger else ["there is no ledger"]), *self.left]

    def lines(self) -> Iterator[str]:
        """The result for people."""
        yield f"{self.combination}, seed {self.seed}"
        for name, number in sorted(self.killed.items()):
            yield f"{number:8} killed or stopped: {name}"
        if self.ledger is not None:
            yield from self.ledger.lines()
        yield f"{len(self.left):8} leaks"
        if self.calm_jobs:
            yield f"{self.calm_jobs:8} jobs in calm, in which a process grew by at most"
            yield f"         {self.grown.mebibytes} MiB and {self.grown.objects} objects,"
            yield f"         {self.grown.files} files, {self.grown.threads} threads"
        yield from (f"FAULT    {fault}" for fault in self.faults)


def soak(
    combination: Combination,
    seed: int,
    *,
    chaos: float,
    calm: int,
    say: Callable[[str], None],
    patience: float = 60,
) -> Soak:
    """Run for ``chaos`` seconds, then so many jobs in calm.

    Arguments:
        combination: The broker and the database.
        seed: What gives chaos its order.
        chaos: Seconds.
        calm: Jobs that run before, and again while, memory is looked at; 0: do not look.
        say: Told of each phase.
        patience: Seconds until every job must be settled, each time.
    """
    done = Soak(combination, seed)
    began = time.monotonic()

    def tell(what: str) -> None:
        say(f"{time.monotonic() - began:6.1f} s  {what}")

    with World(combination) as world:
        world.wait_ready()
        tell(f"{combination}: chaos begins, seed {seed}")
        done.killed = Chaos(world, seed).run(chaos)
        world.revive(world.processes)
        world.stop_starting()
        tell(f"chaos is over, {world.count_unfinished()} jobs are open or owed")
        world.drain(patience)
        tell(f"all of {world.count_jobs()} jobs are settled")
        world.renew_workers()
        if calm:
            watch_growth(world, done, calm, patience)
            tell(f"{2 * calm} jobs in calm")
        find_leaks(world, done)
        done.ledger = Ledger(world)
        tell("the ledger is closed")
    return done


def watch_growth(world: World, done: Soak, calm: int, patience: float) -> None:
    """Compare the long-lived processes before and after jobs, when caches are warm."""
    world.start_jobs(calm, patience)
    before = leaks.measure(world)
    done.calm_jobs = -world.count_jobs()
    world.start_jobs(calm, patience)
    done.calm_jobs += world.count_jobs()
    after = leaks.measure(world)
    grown = [after[pid] - size for pid, size in before.items()]
    done.grown = leaks.largest(grown)
    done.left += [f"a process grew by {size}" for size in grown if size.exceeds(MOST)]


def find_leaks(world: World, done: Soak) -> None:
    """What must not be there when nothing is left to do."""
    done.left += leaks.find_connections(world)
    # It would have the next sweep on its way just now.
    world.beat.kill()
    wait_for(lambda: world.count_messages() == 0, what="the last sweep to end")
    done.left += leaks.find_open_transactions(world)
    done.left += leaks.find_keys(world)
    for process in world.processes:
        process.kill()
    done.left += leaks.find_queues(world)
