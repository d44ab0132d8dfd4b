"""The last members of a chord at the same instant: its body runs, and runs once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from celery import chord

from tests.ends.scene import Act
from tests.races.crowd import Crowd
from tests.waiting import wait_for

CHORDS = 50


class Member:
    """A job in a chord's header, and what it will be called."""

    def __init__(self, crowd: Crowd, **options: Any) -> None:
        self.name = uuid4().hex[:8]
        kwargs = {"name": self.name, "plan": {}}
        self.signature = crowd.system.task("act").signature(kwargs=kwargs, **options)
        self.signature.freeze()
        self.act = Act(crowd, self.name, crowd.system.app.AsyncResult(self.signature.id))


def body(crowd: Crowd) -> tuple[str, Any]:
    """A step that notes the results of a chord, and its name."""
    name = uuid4().hex[:8]
    return name, crowd.system.task("note_success").s(job_name=name)


def count(crowd: Crowd, names: list[str]) -> list[int]:
    """How often each body ran."""
    lines = [line.split(" ")[0] for line in crowd.system.lines("steps")]
    return [lines.count(name) for name in names]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)], ids=["first", "last"])
def test_the_last_two_members_are_handed_on_at_once(crowd: Crowd, order: tuple[int, int]) -> None:
    # Each by a queue of its own that nobody reads: its messages come when the test copies them.
    queues = [uuid4().hex for _ in range(3)]
    members = [Member(crowd, queue=queue) for queue in queues]
    name, last = body(crowd)
    result = chord([member.signature for member in members], last).apply_async()
    resumes = []
    for member, queue, value in zip(members, queues, ["first", "second", "third"], strict=True):
        crowd.copy_message(member.act, queue)(1)
        member.act.wait_parked()
        member.act.succeed(value)
        resumes.append(crowd.copy_message(member.act, queue))
    resumes[2](1)
    crowd.system.wait_settled(members[2].act.id)
    crowd.barrier()
    acts = [members[0].act, members[1].act]
    with crowd.lock(*acts) as lock:
        for waiting, n in enumerate(order, start=1):
            resumes[n](1)
            crowd.wait_active(waiting)
            lock.wait_for_waiting(waiting)
    assert sorted(result.get(timeout=30)) == ["first", "second", "third"]
    for act in acts:
        crowd.system.wait_settled(act.id)
    crowd.barrier()
    assert count(crowd, [name]) == [1]


def test_fifty_chords_whose_members_two_processes_complete(crowd: Crowd) -> None:
    names = []
    files = [uuid4().hex, uuid4().hex]
    pairs = [(Member(crowd), Member(crowd)) for _ in range(CHORDS)]
    for pair in pairs:
        name, last = body(crowd)
        names.append(name)
        chord([member.signature for member in pair], last).apply_async()
    for n, file in enumerate(files):
        for pair in pairs:
            pair[n].act.wait_parked()
        ids = "".join(f"{pair[n].act.id}\n" for pair in pairs)
        (crowd.system.scratch / file).write_text(ids)
    crowd.call_at_once(*[("signal", f"caller {n}", file) for n, file in enumerate(files)])
    wait_for(lambda: all(count(crowd, names)), what="all bodies to run")
    for pair in pairs:
        for member in pair:
            assert crowd.system.wait_settled(member.act.id).state == "SUCCESS"
    crowd.barrier()
    assert count(crowd, names) == [1] * CHORDS


def test_nested_chords_whose_members_three_processes_complete(crowd: Crowd) -> None:
    names = []
    files = [uuid4().hex for _ in range(3)]
    triples = [[Member(crowd) for _ in range(3)] for _ in range(10)]
    for outer, left, right in triples:
        inner_name, inner = body(crowd)
        name, last = body(crowd)
        names += [inner_name, name]
        nested = chord([left.signature, right.signature], inner)
        chord([outer.signature, nested], last).apply_async()
    for n, file in enumerate(files):
        for triple in triples:
            triple[n].act.wait_parked()
        ids = "".join(f"{triple[n].act.id}\n" for triple in triples)
        (crowd.system.scratch / file).write_text(ids)
    crowd.call_at_once(*[("signal", f"caller {n}", file) for n, file in enumerate(files)])
    wait_for(lambda: all(count(crowd, names)), what="all bodies to run")
    crowd.barrier()
    assert count(crowd, names) == [1] * len(names)
