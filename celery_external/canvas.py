"""The ids that a canvas names: the groups a message belongs to, the tasks a result stands for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


class Ids:
    """Ids of groups, and of tasks."""

    def __init__(self, groups: Iterable[str] = (), tasks: Iterable[str] = ()) -> None:
        self.groups = set(groups)
        self.tasks = set(tasks)

    def add(self, other: Ids) -> None:
        """Take in what another one has."""
        self.groups |= other.groups
        self.tasks |= other.tasks


def groups_of(embed: Mapping[str, Any]) -> set[str]:
    """The groups that wait for a task, by what its message says comes after it.

    Its own group stands in a header. A chain's first step knows the group by the last one, a
    member of a chord in a chord the outer one by the body of the inner.
    """
    found: set[str] = set()
    steps: list[Any] = [embed.get("chord"), *_list(embed.get("chain"))]
    while steps:
        step = steps.pop()
        if not isinstance(step, Mapping):
            continue
        options = step.get("options") or {}
        group_id = options.get("group_id")
        if isinstance(group_id, str):
            found.add(group_id)
        steps += [options.get("chord"), *_list(options.get("chain"))]
        if step.get("subtask_type"):
            kwargs = step.get("kwargs") or {}
            steps += [kwargs.get("body"), kwargs.get("header")]
            steps += [*_list(kwargs.get("header")), *_list(kwargs.get("tasks"))]
    return found


def ids_in(results: Iterable[Any]) -> Ids:
    """All ids in results as Celery stores them, ``((id, parent), members)``; parents included."""
    found = Ids()
    nodes = list(results)
    while nodes:
        node = nodes.pop()
        head, members = node.as_tuple() if hasattr(node, "as_tuple") else node
        own_id, parent = head if isinstance(head, (list, tuple)) else (head, None)
        if parent:
            nodes.append(parent)
        if members is None:
            found.tasks.add(own_id)
        else:
            found.groups.add(own_id)
            nodes += members
    return found


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple)) else []
