"""Polls without a worker: rows whose task has a poller, the sweep's messages, and who runs them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeAlias

from celery_external import ExternalTask, Job
from celery_external.polling import TASK_NAME
from tests.rows import Rows, ask

#: A poll message: the task's name, and of each job its id, attempt and when the poll was due.
Asked: TypeAlias = tuple[str, list[tuple[str, int, str]]]


def give_poller(rows: Rows, poller: Callable[[Sequence[Job]], Any], **options: Any) -> None:
    """Have the rows' jobs be of a task that is polled by a function."""
    options = {"poll_interval": 100, **options}
    make_task: Any = rows.app.task(base=ExternalTask, name="rows.polled", shared=False, **options)
    rows.task = make_task(ask)
    rows.task.poller(poller)


def take_messages(rows: Rows) -> list[Asked]:
    """The poll messages in the queue; they are taken out of it."""
    found: list[Asked] = []
    with rows.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        while received := channel.basic_get(rows.queue, no_ack=True):
            headers: Any = received.headers
            assert headers["task"] == TASK_NAME
            # Nobody wants its result, and what nobody takes is dropped in the end.
            assert headers["ignore_result"]
            assert headers["expires"]
            (name, keys), _kwargs, _embed = received.decode()
            found.append((name, [tuple(key) for key in keys]))
    return found


def run(rows: Rows, messages: Iterable[Asked]) -> list[int | None]:
    """Run the poll task as a worker does; how many jobs each message had it ask for."""
    task: Any = rows.app.tasks[TASK_NAME]
    return [task(name, keys) for name, keys in messages]


def come_due(rows: Rows, job_id: str) -> list[Asked]:
    """Let the time of its poll come, and sweep."""
    rows.move(job_id, wake_at=-1, poll_at=-1)
    assert rows.external.sweep() == 1
    return take_messages(rows)


def poll(rows: Rows, job_id: str) -> None:
    """Let the time of its poll come, and have a worker ask."""
    assert run(rows, come_due(rows, job_id)) == [1]
