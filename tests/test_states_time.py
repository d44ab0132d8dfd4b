"""What time brings about: the sweep's lines of the state table, deadlines, and extensions."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celery_external import JobAlreadyCompletedError, OptionError
from tests import events
from tests.events import GRACE, LEASE, PENDING, TRIGGER
from tests.rows import NOW, In, Rows, seconds_until

HOUR = 3600
TIMED_OUT = ("FAILURE", "timed_out", "The deadline has passed")
NO_HEARTBEAT = ("FAILURE", "timed_out", "No sign of life within the heartbeat timeout")
LOST = ("FAILURE", "lost", "The trigger did not end within its trigger timeout")
EXPIRED = ("REVOKED", "cancelled", "Expired before it was started")


def end_of(rows: Rows, job_id: str) -> tuple[str, str, str]:
    row = rows.get(job_id)
    return row["state"], row["kind"], row["reason"]


# --- Messages that are sent again -----------------------------------------------------------------


@pytest.mark.parametrize("state", ["owed", "claimed", "early"])
def test_line_owed_wake_at_passed(rows: Rows, state: str) -> None:
    job_id = getattr(rows, state)()
    noted = rows.events(job_id)

    for sends, wait in enumerate([4 * GRACE, 16 * GRACE, 64 * GRACE, 4 * HOUR, 4 * HOUR], start=1):
        rows.move(job_id, wake_at=-1)
        assert rows.external.sweep() == 1

        row = rows.get(job_id)
        assert (row["sends"], row["claim"], row["wake_at"]) == (sends, None, In(wait))
        assert rows.sent() == [(job_id, 1)]
        assert rows.external.get_job(job_id).stuck is (sends > 3)
    assert rows.events(job_id) == noted


@pytest.mark.parametrize("state", ["pending", "retry"])
def test_line_pending_wake_at_passed(rows: Rows, state: str) -> None:
    job_id = getattr(rows, state)()
    before = rows.get(job_id)

    for sends in (1, 2, 3):
        rows.move(job_id, wake_at=-1)
        assert rows.external.sweep() == 1
        again = In(4 * HOUR)
        assert rows.get(job_id) == {**before, "sends": sends, "due_at": again, "wake_at": again}
        assert rows.sent() == [(job_id, before["attempt"])]

    rows.move(job_id, wake_at=-1)
    assert rows.external.sweep() == 1
    assert rows.get(job_id) == {**before, "sends": 4, "due_at": None, "wake_at": None}
    assert rows.sent() == []
    assert rows.external.get_job(job_id).stuck


def test_a_stuck_job_still_times_out(rows: Rows) -> None:
    job_id = rows.pending(deadline=datetime.now(UTC) + timedelta(hours=9))
    rows.write(job_id, sends=3)
    rows.move(job_id, wake_at=-1)

    rows.external.sweep()
    assert rows.get(job_id)["wake_at"] == In(9 * HOUR)

    rows.move(job_id, wake_at=-1, deadline=-1)
    rows.external.sweep()
    assert end_of(rows, job_id) == TIMED_OUT


def test_a_stuck_job_still_counts_a_signal_and_a_delivery(rows: Rows) -> None:
    signalled, delivered = rows.pending(), rows.pending()
    for job_id in (signalled, delivered):
        rows.write(job_id, sends=4, wake_at=None)

    assert rows.external.signal_succeeded(signalled).sent
    assert rows.take(delivered)

    assert rows.get(delivered)["state"] == "STARTED"
    for job_id in (signalled, delivered):
        job = rows.external.get_job(job_id)
        assert (job.sends, job.stuck) == (0, False)


def test_a_repeat_waits_no_longer_than_the_deadline(rows: Rows) -> None:
    job_id = rows.pending(deadline=datetime.now(UTC) + timedelta(seconds=100))
    assert rows.get(job_id)["wake_at"] == In(100)
    rows.move(job_id, wake_at=-1)

    rows.external.sweep()

    row = rows.get(job_id)
    assert (row["state"], row["sends"], row["wake_at"]) == ("PENDING", 1, In(100))


def test_a_claim_counts_until_its_lease_is_over(rows: Rows) -> None:
    job_id = rows.owed()

    assert rows.take(job_id, claim="first")
    assert rows.take(job_id, claim="second") is None
    rows.move(job_id, wake_at=-1)
    assert rows.take(job_id, claim="third")

    row = rows.get(job_id)
    assert (row["claim"], row["wake_at"]) == ("third", In(LEASE))


def test_a_released_claim_is_free_at_once(rows: Rows) -> None:
    job_id = rows.claimed()
    events.release(rows, rows.get(job_id))

    assert rows.take(job_id, claim="next")


# --- Jobs whose time is over ----------------------------------------------------------------------


def expect_the_end(rows: Rows, job_id: str, end: tuple[str, str, str]) -> None:
    noted = rows.events(job_id)

    assert rows.external.sweep() == 1

    row = rows.get(job_id)
    assert end_of(rows, job_id) == end
    assert (row["claim"], row["sends"], row["completed_by"]) == (None, 0, None)
    assert (row["completed_at"], row["wake_at"]) == (NOW, In(GRACE))
    assert rows.events(job_id) == [*noted, end[1]]
    assert rows.history(job_id)[-1]["reason"] == end[2]
    assert rows.sent() == [(job_id, row["attempt"])]


def test_line_started_wake_at_passed(rows: Rows) -> None:
    job_id = rows.started()
    rows.move(job_id, wake_at=-1)
    expect_the_end(rows, job_id, LOST)


def test_line_parked_wake_at_passed(rows: Rows) -> None:
    job_id = rows.parked(timeout=100)
    rows.move(job_id, wake_at=-1, deadline=-1)
    expect_the_end(rows, job_id, TIMED_OUT)


def test_line_parked_heartbeat_missed(rows: Rows) -> None:
    job_id = rows.parked(timeout=100, heartbeat=10)
    rows.move(job_id, wake_at=-1, due_at=-1)
    expect_the_end(rows, job_id, NO_HEARTBEAT)


@pytest.mark.parametrize("state", ["pending", "retry", "started"])
def test_line_deadline_passed_before_the_park(rows: Rows, state: str) -> None:
    job_id = getattr(rows, state)()
    rows.move(job_id, wake_at=-1, deadline=-1)
    expect_the_end(rows, job_id, TIMED_OUT)


@pytest.mark.parametrize("state", ["pending", "retry"])
def test_line_expired_before_the_start(rows: Rows, state: str) -> None:
    job_id = getattr(rows, state)()
    rows.move(job_id, wake_at=-1, expires_at=-1)
    expect_the_end(rows, job_id, EXPIRED)


@pytest.mark.parametrize("column", ["deadline", "expires_at"])
def test_a_delivery_that_comes_too_late_does_not_start(rows: Rows, column: str) -> None:
    job_id = rows.pending()
    rows.move(job_id, **{column: -1})
    before = rows.get(job_id)

    assert rows.take(job_id) is None
    assert rows.get(job_id) == before


def test_expires_does_not_count_once_the_job_has_started(rows: Rows) -> None:
    job_id = rows.pending(expires=100)
    row = rows.get(job_id)
    assert (row["expires_at"], row["wake_at"]) == (In(100), In(100))

    assert rows.take(job_id)
    assert rows.get(job_id)["wake_at"] == In(TRIGGER)
    rows.move(job_id, expires_at=-1)
    assert rows.park(rows.get(job_id), timeout=HOUR)

    row = rows.get(job_id)
    assert (row["state"], row["wake_at"]) == ("PARKED", In(HOUR))
    assert rows.external.sweep() == 0


def test_the_deadline_of_the_call_counts_where_it_comes_before_the_timeout(rows: Rows) -> None:
    job_id = rows.parked(timeout=HOUR, deadline=datetime.now(UTC) + timedelta(seconds=100))
    row = rows.get(job_id)
    assert (row["deadline"], row["wake_at"]) == (In(100), In(100))


def test_a_job_without_any_limit_never_wakes(rows: Rows) -> None:
    job_id = rows.parked()
    row = rows.get(job_id)
    assert (row["deadline"], row["due_at"], row["wake_at"]) == (None, None, None)


# --- The sweep itself -----------------------------------------------------------------------------


def test_a_sweep_leaves_alone_what_is_not_due(rows: Rows) -> None:
    made = [rows.pending(), rows.started(), rows.parked(timeout=9), rows.owed(), rows.settled()]
    before = [rows.get(job_id) for job_id in made]

    assert rows.external.sweep() == 0

    assert [rows.get(job_id) for job_id in made] == before
    assert rows.sent() == []


def test_a_sweep_is_of_one_namespace(database_url: str) -> None:
    with (
        closing(Rows(database_url, external_namespace="one")) as one,
        closing(Rows(database_url, external_namespace="other")) as other,
    ):
        job_id = one.parked(timeout=9)
        one.move(job_id, wake_at=-1, deadline=-1)

        assert other.external.sweep() == 0
        assert one.external.sweep() == 1


def test_a_sweep_goes_on_until_nothing_is_due(rows: Rows) -> None:
    job_ids = rows.copy(rows.pending(), 1200)
    rows.move_all(wake_at=-1, deadline=-1)

    assert rows.external.sweep() == 1201

    assert rows.count(state="FAILURE") == 1201
    assert {(job_id, 1) for job_id in job_ids} < set(rows.sent())
    assert rows.external.sweep() == 0


# --- Progress is the heartbeat --------------------------------------------------------------------


def test_progress_of_a_parked_job_is_its_heartbeat(rows: Rows) -> None:
    job_id = rows.parked(timeout=HOUR, heartbeat=10)
    rows.move(job_id, wake_at=1, due_at=1)

    rows.external.signal_progress(job_id, 1, 2, "half")

    row = rows.get(job_id)
    assert (row["due_at"], row["wake_at"]) == (In(10), In(10))
    progress = rows.external.get_job(job_id).progress
    assert progress is not None
    assert (progress.current, progress.total, progress.message) == (1, 2, "half")
    assert progress.at == NOW


@pytest.mark.parametrize("state", ["pending", "retry", "started"])
def test_progress_before_the_park_moves_no_time(rows: Rows, state: str) -> None:
    job_id = getattr(rows, state)(heartbeat_timeout=10)
    before = rows.get(job_id)

    rows.external.signal_progress(job_id, 1)

    after = rows.get(job_id)
    assert {**after, "progress": None} == before
    assert after["progress"]["current"] == 1


# --- Extensions -----------------------------------------------------------------------------------


def by_timeout(rows: Rows, job_id: str, seconds: float) -> None:
    rows.external.extend_job(job_id, timeout=seconds, by="alice", reason="more time")


def by_deadline(rows: Rows, job_id: str, seconds: float) -> None:
    deadline = datetime.now(UTC) + timedelta(seconds=seconds)
    rows.external.extend_job(job_id, deadline=deadline, by="alice", reason="more time")


extending = pytest.mark.parametrize("extend", [by_timeout, by_deadline])
Extend = Callable[[Rows, str, float], None]


@extending
@pytest.mark.parametrize("seconds", [20, 9000])
def test_an_extension_moves_the_deadline_either_way(
    rows: Rows, extend: Extend, seconds: float
) -> None:
    job_id = rows.parked(timeout=HOUR)

    extend(rows, job_id, seconds)

    row = rows.get(job_id)
    assert (row["deadline"], row["wake_at"]) == (In(seconds), In(seconds))
    (line,) = rows.history(job_id)
    assert (line["event"], line["by"], line["reason"]) == ("extended", "alice", "more time")


@extending
def test_an_extension_before_the_sweep_counts(rows: Rows, extend: Extend) -> None:
    job_id = rows.parked(timeout=HOUR)
    rows.move(job_id, deadline=-1, wake_at=-1)

    extend(rows, job_id, HOUR)

    assert rows.external.sweep() == 0
    assert rows.get(job_id)["state"] == "PARKED"


@extending
def test_an_extension_after_the_sweep_is_refused(rows: Rows, extend: Extend) -> None:
    job_id = rows.parked(timeout=HOUR)
    rows.move(job_id, deadline=-1, wake_at=-1)
    rows.external.sweep()

    with pytest.raises(JobAlreadyCompletedError, match=r"cannot be extended: it was already timed"):
        extend(rows, job_id, HOUR)

    assert end_of(rows, job_id) == TIMED_OUT
    assert rows.events(job_id) == ["timed_out", "refused"]


@extending
def test_an_extension_leaves_the_heartbeat(rows: Rows, extend: Extend) -> None:
    job_id = rows.parked(timeout=HOUR, heartbeat=100)

    extend(rows, job_id, 2 * HOUR)

    row = rows.get(job_id)
    assert (row["deadline"], row["wake_at"]) == (In(2 * HOUR), In(100))


@extending
def test_an_extension_of_a_running_trigger_leaves_its_own_limit(rows: Rows, extend: Extend) -> None:
    job_id = rows.started(deadline=datetime.now(UTC) + timedelta(seconds=100))

    for hours in (2, 3, 9):
        extend(rows, job_id, hours * HOUR)

        row = rows.get(job_id)
        assert (row["deadline"], row["wake_at"]) == (In(hours * HOUR), In(TRIGGER))


@extending
def test_an_extension_of_a_job_that_waits_leaves_its_repeats(rows: Rows, extend: Extend) -> None:
    job_id = rows.pending(deadline=datetime.now(UTC) + timedelta(seconds=100))

    for hours in (2, 3, 9):
        extend(rows, job_id, hours * HOUR)
        assert rows.get(job_id)["wake_at"] == In(PENDING)


@extending
@pytest.mark.parametrize("timeout", [20, 9000])
def test_an_extension_before_the_park_stands_for_the_timeout(
    rows: Rows, extend: Extend, timeout: float
) -> None:
    job_id = rows.started()
    row = rows.get(job_id)
    extend(rows, job_id, 500)

    rows.park(row, timeout=timeout)

    row = rows.get(job_id)
    assert (row["state"], row["deadline"], row["wake_at"]) == ("PARKED", In(500), In(500))


@extending
def test_a_shorter_extension_can_be_lengthened_again(rows: Rows, extend: Extend) -> None:
    job_id = rows.started()

    extend(rows, job_id, 60)
    assert rows.get(job_id)["wake_at"] == In(60)
    extend(rows, job_id, 1800)
    assert rows.get(job_id)["wake_at"] == In(1800)


def test_an_extension_takes_one_of_timeout_and_deadline(rows: Rows) -> None:
    job_id = rows.parked(timeout=HOUR)
    before = rows.get(job_id)

    both: dict[str, Any] = {"timeout": 1, "deadline": datetime.now(UTC)}
    naive: dict[str, Any] = {"deadline": datetime(2999, 1, 1)}  # noqa: DTZ001 - that is the point
    for given in ({}, both):
        with pytest.raises(OptionError) as caught:
            rows.external.extend_job(job_id, **given)
        assert str(caught.value) == "extend_job: takes either timeout= or deadline="
    for given in ({"timeout": -1}, {"timeout": "1"}, naive):
        with pytest.raises(OptionError):
            rows.external.extend_job(job_id, **given)

    assert rows.get(job_id) == before
    assert rows.events(job_id) == []


def test_a_timedelta_is_a_timeout(rows: Rows) -> None:
    job_id = rows.parked()
    job = rows.external.extend_job(job_id, timeout=timedelta(hours=1))
    assert job.deadline is not None
    assert HOUR - 20 < seconds_until(job.deadline) <= HOUR
