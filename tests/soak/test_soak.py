"""A short soak of two combinations; ``make soak MINUTES=10`` runs a long one of all."""

from __future__ import annotations

import os
from random import SystemRandom

import pytest

from tests.soak.run import soak
from tests.soak.world import Combination

#: Seconds of chaos.
CHAOS = 12
CALM = 60


# On a machine that is busy with something else; alone it takes less than a minute.
@pytest.mark.timeout(500)
@pytest.mark.parametrize(
    "combination",
    [Combination("rabbitmq", "postgresql"), Combination("valkey", "sqlite")],
    ids=str,
)
def test_nothing_is_lost_and_nothing_left_behind(combination: Combination) -> None:
    seed = int(os.environ.get("SOAK_SEED") or SystemRandom().randrange(10**6))
    done = soak(combination, seed, chaos=CHAOS, calm=CALM, say=print, patience=150)
    assert not done.faults, "\n".join(done.lines())
