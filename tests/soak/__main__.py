"""``make soak MINUTES=10``: a soak of every combination, with a ledger; exit 1 on any loss."""

from __future__ import annotations

import os
import signal
import sys
from random import SystemRandom

from tests.processes import Process
from tests.soak.run import soak
from tests.soak.world import Combination

COMBINATIONS = (
    Combination("rabbitmq", "postgresql"),
    Combination("valkey", "postgresql"),
    Combination("valkey", "sqlite"),
)
#: Jobs in calm, before and while memory is looked at.
CALM = 300


def say(text: str) -> None:
    """Print at once."""
    print(text, flush=True)  # noqa: T201 - what it is for


def main(minutes: str, seed: str | None = None) -> int:
    """Divide the minutes of chaos among the combinations; a seed repeats an order."""
    # However it ends, servers and processes end with it.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    first_seed = int(seed) if seed else SystemRandom().randrange(10**6)
    say(f"{minutes} minutes of chaos on {os.cpu_count()} cores, seed {first_seed}")
    results = []
    for number, combination in enumerate(COMBINATIONS):
        Process.forget_ended()
        chaos = float(minutes) * 60 / len(COMBINATIONS)
        done = soak(combination, first_seed + number, chaos=chaos, calm=CALM, say=say, patience=300)
        results.append(done)
        for line in done.lines():
            say(line)
    faults = sum(len(done.faults) for done in results)
    say(f"{faults} faults in all")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
