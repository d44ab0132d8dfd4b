"""Poll messages that pile up, come late or come twice: each job is asked for by one of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from celery_external import Job
from tests.polls import come_due, give_poller, poll, run, take_messages
from tests.rows import In, Rows

HOUR = 3600


def test_of_messages_that_have_piled_up_one_counts(rows: Rows) -> None:
    asked: list[Job] = []
    give_poller(rows, asked.extend)
    job_id = rows.parked(poll=100)
    messages = come_due(rows, job_id)
    for _ in range(2):
        rows.move(job_id, wake_at=-1)
        rows.external.sweep()
        messages += take_messages(rows)

    assert run(rows, [*messages, *messages]) == [1, 0, 0, 0, 0, 0]
    assert [job.id for job in asked] == [job_id]
    assert rows.get(job_id)["wake_at"] == In(100)


def test_while_a_poller_runs_nobody_else_asks(rows: Rows) -> None:
    seen: list[Any] = []

    def poller(jobs: Sequence[Job]) -> None:
        (job,) = jobs
        row = rows.get(job.id)
        seen.extend((row["poll_at"], row["wake_at"]))
        assert rows.external.sweep() == 0
        assert run(rows, [message]) == [0]

    give_poller(rows, poller)
    job_id = rows.parked(poll=5)
    (message,) = come_due(rows, job_id)
    run(rows, [message])
    assert seen == [In(300), In(300)]
    assert rows.get(job_id)["wake_at"] == In(5)
    assert rows.events(job_id) == []


@pytest.mark.parametrize("event", ["completed", "rerun", "gone"])
def test_a_message_for_a_job_that_went_on_does_nothing(rows: Rows, event: str) -> None:
    asked: list[Job] = []
    give_poller(rows, asked.extend)
    job_id = rows.parked(poll=100)
    messages = come_due(rows, job_id)
    if event == "completed":
        rows.external.signal_succeeded(job_id, 1)
    elif event == "rerun":
        rows.external.rerun_job(job_id)
        row = rows.get(job_id)
        assert (row["poll_at"], row["poll_interval"]) == (None, None)
    else:
        messages = [(name, [("gone", *key[1:]) for key in keys]) for name, keys in messages]
    before = rows.get(job_id)

    assert run(rows, messages) == [0]

    assert asked == []
    assert rows.get(job_id) == before


def test_the_next_attempt_is_polled_anew(rows: Rows) -> None:
    asked: list[Job] = []
    give_poller(rows, asked.extend, poll_backoff=3)
    job_id = rows.parked(poll=100)
    poll(rows, job_id)
    assert rows.get(job_id)["poll_interval"] == 300
    rows.external.rerun_job(job_id)
    rows.sent()
    assert rows.take(job_id)
    assert rows.get(job_id)["wake_at"] == In(HOUR)
    rows.park(rows.get(job_id), poll_interval=100)

    assert rows.get(job_id)["wake_at"] == In(100)
    poll(rows, job_id)
    assert [job.attempt for job in asked] == [1, 2]
