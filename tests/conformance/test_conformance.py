"""A canvas with an external task is the same as with an ordinary one in its place."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import closing

import pytest

from tests.conformance.cases import CASES, Case
from tests.conformance.combinations import COMBINATIONS, Combination
from tests.conformance.facts import EXTERNAL, KINDS, ORDINARY, compare
from tests.conformance.play import Seen, Stage, name_run
from tests.conformance.table import why_not

POSSIBLE = [
    pytest.param(combination, case, id=f"{combination}-{case}")
    for combination in COMBINATIONS
    for case in CASES
    if why_not(combination, case) is None
]


@pytest.mark.timeout(300)  # the first test of a combination plays all of its canvases
@pytest.mark.parametrize(("combination", "case"), POSSIBLE)
def test_external_is_as_ordinary(
    combination: Combination,
    case: Case,
    play: Callable[[Combination], Mapping[str, Seen]],
    request: pytest.FixtureRequest,
) -> None:
    seen = play(combination)
    ordinary, external = (seen[name_run(case, kind)] for kind in (ORDINARY, EXTERNAL))
    for kind, one in ((ORDINARY, ordinary), (EXTERNAL, external)):
        request.node.add_report_section("call", f"worker, {kind}", one.log)
    assert (ordinary.stuck, external.stuck) == (None, None)
    assert compare(ordinary.facts, external.facts) == []
    assert not ordinary.jobs
    assert {job.meta["name"] for job in external.jobs if not job.settled} == set()
    assert {job.meta["name"]: job.state for job in external.jobs} == external.ends


@pytest.mark.parametrize(
    "combination", [one for one in COMBINATIONS if not one.has_chords], ids=str
)
def test_chords_are_not_possible(
    combination: Combination, make_env: Callable[[Combination], dict[str, str]]
) -> None:
    case = next(case for case in CASES if case.name == "chord-of-externals")
    with closing(Stage(combination, make_env(combination))) as stage:
        for kind in KINDS:
            with pytest.raises(NotImplementedError):
                stage.start(case, kind)
        assert not stage.external.find_jobs(order="created")
