"""What a poller says, and what becomes of jobs whose poller fails or says something wrong."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from typing import Any

import pytest

from celery_external import (
    DatabaseUnavailableError,
    ExternalTask,
    Failed,
    Job,
    Progress,
    Succeeded,
)
from tests.polls import Asked, come_due, give_poller, poll, run, take_messages
from tests.rows import NOW, In, Rows

HOUR = 3600


def nothing(_jobs: Sequence[Job]) -> None:
    """Know nothing yet."""


def test_an_outcome_completes_the_job(rows: Rows) -> None:
    give_poller(rows, lambda jobs: [(job, Succeeded(job.reference)) for job in jobs])
    job_id = rows.parked(poll=100)
    rows.write(job_id, reference="r-1")
    poll(rows, job_id)

    job = rows.external.get_job(job_id)
    assert (job.state, job.result, job.completed_by) == ("SUCCESS", "r-1", "poller")
    assert [(line.event, line.by) for line in job.history] == [("succeeded", "poller")]
    assert rows.sent() == [(job_id, 1)]


def test_a_failure_and_an_id_in_place_of_a_job(rows: Rows) -> None:
    give_poller(rows, lambda jobs: ((job.id, Failed("no GPU")) for job in jobs))
    job_id = rows.parked(poll=100)
    poll(rows, job_id)

    job = rows.external.get_job(job_id)
    assert (job.state, job.reason, job.completed_by) == ("FAILURE", "no GPU", "poller")


def test_progress_is_the_heartbeat_and_the_job_is_polled_again(rows: Rows) -> None:
    give_poller(rows, lambda jobs: [(job, Progress(1, 2, "half")) for job in jobs])
    job_id = rows.parked(poll=100, heartbeat=400)
    rows.move(job_id, due_at=60)
    poll(rows, job_id)

    row = rows.get(job_id)
    assert (row["state"], row["due_at"]) == ("PARKED", In(400))
    assert (row["poll_at"], row["wake_at"]) == (In(100), In(100))
    progress = rows.external.get_job(job_id).progress
    assert progress is not None
    assert (progress.current, progress.total, progress.message) == (1, 2, "half")
    assert rows.events(job_id) == []


@pytest.mark.parametrize("said", [None, [], "each"])
def test_a_job_of_which_nothing_is_said_is_polled_again(rows: Rows, said: Any) -> None:
    give_poller(rows, lambda jobs: [(job, None) for job in jobs] if said == "each" else said)
    job_id = rows.parked(poll=100, timeout=HOUR)
    before = rows.get(job_id)
    poll(rows, job_id)
    assert rows.get(job_id) == {**before, "poll_at": In(100), "wake_at": In(100)}
    assert rows.events(job_id) == []
    poll(rows, job_id)


def test_a_poller_gets_its_jobs_with_their_arguments(rows: Rows) -> None:
    seen: list[Job] = []
    give_poller(rows, seen.extend)
    job_ids = [rows.parked(poll=100, args=(n,), kwargs={"size": n}) for n in range(3)]
    rows.move_all(wake_at=-1, poll_at=-1)
    rows.external.sweep()
    assert run(rows, take_messages(rows)) == [3]
    arguments = {job.id: (list(job.args or ()), job.kwargs) for job in seen}
    assert arguments == {job_id: ([n], {"size": n}) for n, job_id in enumerate(job_ids)}


def test_the_interval_grows_to_its_limit(rows: Rows) -> None:
    give_poller(rows, nothing, poll_interval=100, poll_backoff=3, poll_interval_max=500)
    job_id = rows.parked(poll=100)
    for interval in (300, 500, 500):
        poll(rows, job_id)
        row = rows.get(job_id)
        assert row["poll_interval"] == interval
        assert (row["poll_at"], row["wake_at"]) == (In(interval), In(interval))


# --- Pollers that fail ----------------------------------------------------------------------------


def fail(_jobs: Sequence[Job]) -> None:
    raise ConnectionError("the provider is away")


def test_an_exception_is_in_the_history_and_the_job_is_polled_again(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    give_poller(rows, fail, poll_backoff=2)
    job_ids = [rows.parked(poll=100), rows.parked(poll=100)]
    rows.move_all(wake_at=-1, poll_at=-1)
    rows.external.sweep()

    with caplog.at_level(logging.ERROR, "celery_external"):
        assert run(rows, take_messages(rows)) == [2]

    for job_id in job_ids:
        (line,) = rows.history(job_id)
        assert (line["event"], line["attempt"], line["by"]) == ("poll_failed", 1, "poller")
        assert (line["reason"], line["at"]) == ("ConnectionError: the provider is away", NOW)
        assert rows.get(job_id)["state"] == "PARKED"
        assert rows.get(job_id)["wake_at"] == In(200)
        assert job_id in caplog.text
    poll(rows, job_ids[0])
    assert rows.events(job_ids[0]) == ["poll_failed", "poll_failed"]


def test_what_a_generator_said_before_it_raised_counts(rows: Rows) -> None:
    asked: list[str] = []

    def poller(jobs: Sequence[Job]) -> Iterator[tuple[Job, Any]]:
        # The database gives them in any order.
        asked.extend(job.id for job in jobs)
        yield jobs[0], Succeeded(1)
        assert rows.get(asked[0])["state"] == "SUCCESS"
        yield jobs[1], None
        raise LookupError("x" * 5000)

    give_poller(rows, poller)
    job_ids = {rows.parked(poll=100) for _ in range(4)}
    rows.move_all(wake_at=-1, poll_at=-1)
    rows.external.sweep()
    (message,) = take_messages(rows)
    assert run(rows, [message]) == [4]

    told, silent, *left = asked
    assert job_ids == {told, silent, *left}
    assert rows.events(told) == ["succeeded"]
    assert rows.events(silent) == []
    for job_id in left:
        (line,) = rows.history(job_id)
        assert line["reason"] == f"LookupError: {'x' * 5000}"[:1000]
        assert rows.get(job_id)["wake_at"] == In(100)


WRONG = {
    "outcome": ("done", "The poller gave a str, no Succeeded, Failed or Progress"),
    "result": (Succeeded(object()), "The result cannot be written with the serializer 'json'"),
    "reason": (Failed("a\0b"), "reason: must not contain NUL characters"),
    "progress": (Progress(float("nan")), "current: must be a finite number, not nan"),
}


@pytest.mark.parametrize("wrong", WRONG)
def test_a_wrong_outcome_is_in_the_history_and_the_others_count(
    rows: Rows, caplog: pytest.LogCaptureFixture, wrong: str
) -> None:
    outcome, problem = WRONG[wrong]
    bad = rows.parked(poll=100)
    good = rows.parked(poll=100)
    give_poller(rows, lambda jobs: [(j, outcome if j.id == bad else Succeeded(1)) for j in jobs])
    for job_id in (bad, good):
        rows.write(job_id, task="rows.polled")
    rows.move_all(wake_at=-1, poll_at=-1)
    rows.external.sweep()
    run(rows, take_messages(rows))

    assert rows.get(good)["state"] == "SUCCESS"
    (line,) = rows.history(bad)
    assert (line["event"], line["by"]) == ("poll_failed", "poller")
    assert line["reason"].startswith(problem)
    assert rows.get(bad)["wake_at"] == In(100)
    assert f"job {bad}: {problem}" in caplog.text


def test_a_word_for_another_job_does_not_count(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    other = rows.parked()
    give_poller(rows, lambda _: [(other, Succeeded(1)), ("gone", Succeeded(1)), 5, ("", "\0")])
    job_id = rows.parked(poll=100)
    poll(rows, job_id)

    assert rows.get(other)["state"] == "PARKED"
    (line,) = rows.history(other)
    assert (line["event"], line["reason"]) == (
        "poll_failed",
        "The poller was not asked for this job",
    )
    assert "The poller of rows.polled, job gone: The poller was not asked for this job" in (
        caplog.text
    )
    assert "The poller of rows.polled gave a int, no (job, outcome)" in caplog.text
    assert rows.events(job_id) == []


def test_a_database_that_is_away_is_no_failed_poll(rows: Rows) -> None:
    def poller(jobs: Sequence[Job]) -> None:
        raise DatabaseUnavailableError("the database", f"cannot tell of {len(jobs)} jobs")

    give_poller(rows, poller)
    job_id = rows.parked(poll=100)
    with pytest.raises(DatabaseUnavailableError, match="cannot tell of 1 jobs"):
        poll(rows, job_id)
    assert rows.events(job_id) == []
    assert rows.get(job_id)["wake_at"] == In(100)


def test_a_result_of_another_type_is_refused_and_the_job_polled_again(rows: Rows) -> None:
    give_poller(rows, lambda jobs: [(job, Succeeded("many")) for job in jobs], result_type=int)
    job_id = rows.parked(poll=100)
    poll(rows, job_id)
    (line,) = rows.history(job_id)
    assert (line["event"], line["by"]) == ("refused", "poller")
    assert rows.get(job_id)["wake_at"] == In(100)


def test_a_job_that_somebody_else_completed_meanwhile_keeps_its_outcome(rows: Rows) -> None:
    def poller(jobs: Sequence[Job]) -> list[tuple[Job, Succeeded]]:
        for job in jobs:
            rows.external.signal_failed(job, "no", by="alice")
        return [(job, Succeeded(1)) for job in jobs]

    give_poller(rows, poller)
    job_id = rows.parked(poll=100)
    poll(rows, job_id)
    assert rows.events(job_id) == ["failed", "refused"]
    assert rows.get(job_id)["completed_by"] == "alice"


# --- Who is asked ---------------------------------------------------------------------------------


def test_a_class_polls_by_its_method_and_inherits_its_options(rows: Rows) -> None:
    class Polled(ExternalTask):
        poll_interval = 7200
        poll_backoff = 2

    class Render(Polled):
        name = "rows.render"

        def run(self) -> None:
            """Park."""

        def poll(self, jobs: Sequence[Job]) -> Iterator[tuple[Job, Succeeded]]:
            """Know."""
            for job in jobs:
                yield job, Succeeded(self.name)

    rows.task = rows.app.register_task(Render())
    job_id = rows.parked(poll=100)
    poll(rows, job_id)
    assert rows.external.get_job(job_id).result == "rows.render"
    assert rows.get(job_id)["poll_interval"] == 200


def test_a_worker_that_does_not_know_the_task_says_so(
    rows: Rows, caplog: pytest.LogCaptureFixture
) -> None:
    job_id = rows.parked(poll=100)
    (message,) = come_due(rows, job_id)
    renamed: Asked = ("rows.other", message[1])
    assert run(rows, [renamed]) == [None]
    said = f"This worker knows no external task rows.other, and cannot poll jobs {job_id}"
    assert said in caplog.text


def test_a_function_task_without_its_poller_is_a_failed_poll(rows: Rows) -> None:
    give_poller(rows, nothing)
    rows.task._poller = None  # noqa: SLF001 - as if the decorator were forgotten
    job_id = rows.parked(poll=100)
    poll(rows, job_id)
    (line,) = rows.history(job_id)
    assert line["reason"].startswith("OptionError: poll_interval: there is no poller: define")


def test_a_task_that_is_not_polled_any_more_leaves_its_jobs_alone(rows: Rows) -> None:
    job_id = rows.parked(poll=100, timeout=HOUR)
    assert run(rows, come_due(rows, job_id)) == [0]
    row = rows.get(job_id)
    assert (row["poll_at"], row["poll_interval"], row["wake_at"]) == (None, None, In(HOUR))


def test_a_poll_does_not_wait_for_somebody_who_looks_at_a_job(postgres_url: str) -> None:
    rows = Rows(postgres_url)
    asked: list[Job] = []
    give_poller(rows, asked.extend)
    seen, free = rows.parked(poll=100), rows.parked(poll=100)
    rows.move_all(wake_at=-1, poll_at=-1)
    rows.external.sweep()
    (message,) = take_messages(rows)
    with rows.external.lock_job(seen):
        assert run(rows, [message]) == [1]
    assert [job.id for job in asked] == [free]
    rows.close()


def test_in_eager_mode_nothing_polls(rows: Rows) -> None:
    give_poller(rows, nothing)
    result = rows.task.apply()
    row = rows.get(result.id)
    assert (row["state"], row["poll_at"], row["wake_at"]) == ("PARKED", None, None)
