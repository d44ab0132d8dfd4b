"""Order independence: jobs driven at random on both databases, compared with the model.

The same examples each time, so that a failure is no accident. More of them, and others each time::

    MODEL_EXAMPLES=5000 pytest tests/model
"""

from __future__ import annotations

import os
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis.stateful import run_state_machine_as_test

from tests.model.machine import Machine
from tests.model.world import World

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "0"))
STEPS = 60
SETTINGS = settings(
    max_examples=EXAMPLES or 40,
    stateful_step_count=STEPS,
    derandomize=not EXAMPLES,
    deadline=None,
    print_blob=True,
    phases=[Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink],
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.timeout(0 if EXAMPLES else 300)
def test_whatever_happens_in_whatever_order(world: World, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("CRITICAL")
    make: Any = lambda: Machine(world)  # noqa: E731 - any factory will do
    run_state_machine_as_test(make, settings=SETTINGS)
