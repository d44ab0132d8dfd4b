"""A chord, a chord in a chord and a saved group whose members outlast ``result_expires``."""

from __future__ import annotations

from tests.long_waits.conftest import Story
from tests.long_waits.memories import EXPIRES

#: What each canvas returns; ordinary members return what they are given.
RESULTS = {
    "chord": [1, "answer", 3],
    "chains in a chord": ["answer", 2],
    "chord in a chord": [["answer", 2], 3],
    "chord in a chain in a chord": [["answer", 2], 3],
    "group at a chain's end in a chord": [["answer", 1], 3],
    "saved group": [1, "answer", "answer"],
    "saved group of groups": ["answer", 2, 3],
}


def test_the_others_are_remembered_for_longer_than_celery_would(story: Story) -> None:
    assert len(story.before) >= 10
    forgotten = {name for name in story.before if name not in story.after}
    assert forgotten == set()
    assert {name for name, at in story.before.items() if story.after[name] <= at} == set()
    # What is renewed is not there for ever.
    assert max(story.after.values()) <= story.completed_at + EXPIRES + 1


def test_each_canvas_completes_with_the_others_results(story: Story) -> None:
    assert story.read == {name: RESULTS[name] for name in story.started}


def test_the_results_are_there_for_the_whole_expiry_after_the_completion(story: Story) -> None:
    short = {name: at for name, at in story.last.items() if at < story.until}
    assert not any(task_id in name for name in short for task_id in story.results())
    assert all(any(task_id in name for name in story.last) for task_id in story.results())
