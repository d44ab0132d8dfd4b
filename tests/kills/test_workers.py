"""A worker is killed, or the children of its pool: each job ends as its signals and times say."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import pytest

from tests.kills.play import Seen
from tests.kills.points import COMBINATIONS, POINTS, Combination, Point

CASES = [(combination, point) for combination in COMBINATIONS for point in combination.points]


@pytest.mark.timeout(300)  # the first test of a combination plays all of its points
@pytest.mark.parametrize(("combination", "point"), CASES, ids=str)
def test_a_worker_is_killed(
    played: Callable[[Combination], Mapping[str, Seen]], combination: Combination, point: Point
) -> None:
    seen = played(combination)[point.name]
    assert seen.at_death == point.at_death
    if isinstance(seen.end, Exception):
        raise seen.end
    assert seen.end == combination.end_of(point)


def test_no_two_points_look_the_same() -> None:
    assert len({point.at_death for point in POINTS}) == len(POINTS)
