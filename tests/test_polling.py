"""When a poll is due: the sweep sends it once a round, whatever else happens to the job."""

from __future__ import annotations

import itertools
import threading
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from kombu import Exchange, Queue

from celery_external.polling import BATCH, TASK_NAME
from tests.polls import come_due, give_poller, run, take_messages
from tests.rows import NO_BROKER, In, Rows

LEASE = 300
HOUR = 3600

TIMES = [(None, 100, 300), (None, 150), (None, 50, 200)]


@pytest.mark.parametrize(("timeout", "heartbeat", "interval"), list(itertools.product(*TIMES)))
def test_the_sweep_looks_when_the_first_of_its_times_has_come(
    rows: Rows, timeout: float | None, heartbeat: float | None, interval: float | None
) -> None:
    def first(*times: float | None) -> In | None:
        given = [seconds for seconds in times if seconds is not None]
        return In(min(given)) if given else None

    job_id = rows.parked(timeout=timeout, heartbeat=heartbeat, poll=interval)
    row = rows.get(job_id)
    assert row["wake_at"] == first(timeout, heartbeat, interval)
    assert row["poll_interval"] == interval
    assert row["poll_at"] == first(interval)

    rows.external.signal_progress(job_id, 1)
    assert rows.get(job_id)["wake_at"] == first(timeout, heartbeat, interval)

    rows.external.extend_job(job_id, timeout=250)
    assert rows.get(job_id)["wake_at"] == first(250, heartbeat, interval)
    assert rows.get(job_id)["poll_at"] == row["poll_at"]


def test_a_poll_that_is_due_is_sent_to_the_tasks_queue_once(rows: Rows) -> None:
    job_id = rows.parked(timeout=HOUR, poll=100)
    assert rows.external.sweep() == 0

    rows.move(job_id, wake_at=-1, poll_at=-1)
    before = rows.get(job_id)
    assert rows.external.sweep() == 1
    assert rows.external.sweep() == 0

    due = before["poll_at"].isoformat()
    assert take_messages(rows) == [("rows.ask", [(job_id, 1, due)])]
    assert rows.get(job_id) == {**before, "wake_at": In(LEASE)}
    assert rows.events(job_id) == []


def test_a_poll_that_nobody_has_taken_is_sent_again(rows: Rows) -> None:
    job_id = rows.parked(poll=100)
    first = come_due(rows, job_id)

    rows.move(job_id, wake_at=-1)
    assert rows.external.sweep() == 1
    assert take_messages(rows) == first

    rows.write(job_id, poll_interval=9000.0)
    rows.move(job_id, wake_at=-1)
    rows.external.sweep()
    assert rows.get(job_id)["wake_at"] == In(9000)


@pytest.mark.parametrize("change", ["progress", "extend"])
def test_a_change_while_a_message_is_on_its_way_sends_no_other(rows: Rows, change: str) -> None:
    job_id = rows.parked(timeout=HOUR, heartbeat=HOUR, poll=100)
    come_due(rows, job_id)

    if change == "progress":
        rows.external.signal_progress(job_id, 1)
    else:
        rows.external.extend_job(job_id, timeout=HOUR)

    assert rows.get(job_id)["wake_at"] == In(LEASE)
    assert rows.external.sweep() == 0


def test_the_deadline_comes_before_the_poll(rows: Rows) -> None:
    late, silent = rows.parked(timeout=HOUR, poll=100), rows.parked(heartbeat=HOUR, poll=100)
    rows.move(late, wake_at=-1, poll_at=-1, deadline=-1)
    rows.move(silent, wake_at=-1, poll_at=-1, due_at=-1)

    assert rows.external.sweep() == 2

    for job_id in (late, silent):
        assert rows.events(job_id) == ["timed_out"]
    assert sorted(rows.sent()) == sorted([(late, 1), (silent, 1)])


def test_the_broker_is_away_and_the_poll_is_due_again_soon(rows: Rows, database_url: str) -> None:
    job_id = rows.parked(poll=40)
    rows.move(job_id, wake_at=-1, poll_at=-1)
    with closing(Rows(database_url, broker_url=NO_BROKER)) as cut_off:
        assert cut_off.external.sweep() == 1
    assert rows.get(job_id)["wake_at"] == In(40)

    rows.move(job_id, wake_at=-1)
    assert rows.external.sweep() == 1
    assert len(take_messages(rows)) == 1


def test_a_poll_takes_the_route_of_the_jobs_own_message(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    queue = Queue(f"{rows.queue}-special", Exchange(f"{rows.queue}-topic", "topic"), "render.#")
    rows.app.conf.task_queues = [queue]
    sent = rows.task.apply_async(queue=queue.name, routing_key="render.large")
    assert rows.take(sent.id)
    rows.park(rows.get(sent.id), poll_interval=100)
    damaged = rows.parked(poll=100)
    rows.write(damaged, envelope="{}")
    rows.move_all(wake_at=-1, poll_at=-1)

    assert rows.external.sweep() == 2

    with rows.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        tasks = [channel.basic_get(queue.name, no_ack=True).headers["task"] for _ in range(2)]
    assert tasks == ["rows.ask", TASK_NAME]
    assert f"Job rows.ask[{damaged}] cannot be polled: its message is damaged" in caplog.text


def test_two_sweeps_and_two_workers_at_once_poll_each_job_once_a_round(
    rows: Rows, database_url: str
) -> None:
    asked: Counter[str] = Counter()
    give_poller(rows, lambda jobs: asked.update(job.id for job in jobs))
    job_id = rows.parked(poll=100)
    job_ids = {job_id, *rows.copy(job_id, 9_999)}
    rows.move_all(wake_at=-1, poll_at=-1)

    with closing(Rows(database_url)) as other:
        counts: list[int] = []
        at_once(*(lambda who=who: counts.append(who.external.sweep()) for who in (rows, other)))
        assert sum(counts) == len(job_ids)
        messages = take_messages(rows)
        in_messages = Counter(key[0] for _, keys in messages for key in keys)
        assert in_messages == Counter(job_ids)
        assert max(len(keys) for _, keys in messages) == BATCH

    at_once(lambda: run(rows, messages), lambda: run(rows, reversed(messages)))
    assert asked == Counter(job_ids)
    assert rows.external.sweep() == 0


def at_once(*calls: Callable[[], object]) -> None:
    """Call them in threads."""
    threads = [threading.Thread(target=call) for call in calls]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=100)
