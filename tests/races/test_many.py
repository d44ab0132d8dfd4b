"""Many processes at once: each job is completed once, and goes on once."""

from __future__ import annotations

import json
from collections import Counter
from uuid import uuid4

from tests.ends.scene import Act
from tests.races.crowd import Crowd

CALLERS = 8
JOBS = 100


def test_eight_processes_signal_a_hundred_jobs(crowd: Crowd) -> None:
    acts = [crowd.start() for _ in range(JOBS)]
    for act in acts:
        act.wait_parked()
    file = uuid4().hex
    (crowd.system.scratch / file).write_text("".join(f"{act.id}\n" for act in acts))
    crowd.call_at_once(*[("signal", f"caller {n}", file) for n in range(CALLERS)])
    told = [line.split(" ", 2) for line in crowd.system.lines(f"told-{file}")]
    assert Counter(status for _, status, _ in told) == {
        "applied": JOBS,
        "refused": (CALLERS - 1) * JOBS,
    }
    winners = {job_id: result for job_id, status, result in told if status == "applied"}
    assert len(winners) == JOBS
    # The callers met: otherwise this test would show nothing.
    assert len(set(winners.values())) > 1
    for act in acts:
        crowd.system.wait_settled(act.id)
    crowd.barrier()
    steps = Counter(crowd.system.lines("steps"))
    assert {act.name: json.dumps(winners[act.id]) for act in acts} == {
        act.name: value
        for act in acts
        for value in [line.split(" ", 1)[1] for line in steps if line.startswith(act.name)]
    }
    assert [act.count("steps") for act in acts] == [1] * JOBS
    assert [act.count("triggers") for act in acts] == [1] * JOBS


def test_two_processes_start_the_same_ids(crowd: Crowd) -> None:
    ids = [uuid4().hex for _ in range(30)]
    (crowd.system.scratch / f"ids-{ids[0]}").write_text("\n".join(ids))
    crowd.call_at_once(*[("apply", f"ids-{ids[0]}")] * 2)
    acts = [Act(crowd, job_id, crowd.system.app.AsyncResult(job_id)) for job_id in ids]

    def start_again() -> None:
        for act in acts:
            kwargs = {"name": act.name, "plan": {}}
            crowd.system.task("act").apply_async(kwargs=kwargs, task_id=act.id)
        crowd.barrier()

    for act in acts:
        act.wait_parked()
    start_again()
    assert {(act.job.state, act.job.attempt) for act in acts} == {("PARKED", 1)}
    for act in acts:
        act.succeed()
    start_again()
    for act in acts:
        crowd.system.wait_settled(act.id)
    start_again()
    assert {(act.job.state, act.job.attempt) for act in acts} == {("SUCCESS", 1)}
    assert [act.count("triggers") for act in acts] == [1] * len(acts)
