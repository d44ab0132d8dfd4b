"""The shop's own tests, for Django's test runner: what a user of the library may rely on."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from celery import chain
from django.db import connection, connections, transaction
from django.db.utils import OperationalError
from django.test import Client, TestCase, TransactionTestCase

from celery_external import (
    Count,
    Failed,
    JobAlreadyCompletedError,
    JobNotFoundError,
    Succeeded,
    cancel_job,
    extend_job,
    find_jobs,
    get_external,
    get_job,
    lock_job,
    rerun_job,
    signal_failed,
    signal_succeeded,
)
from tests.django.project.shop.models import Order
from tests.django.project.shop.tasks import ask, count_connections, publish
from tests.waiting import wait_for


def sent() -> list[str]:
    """The ids of the messages in the queue, oldest first; they are taken."""
    app = ask.app
    with app.connection_for_read() as made:
        queue = app.amqp.queues["celery"](made.default_channel)
        ids = []
        while (found := queue.get(no_ack=True)) is not None:
            ids.append(found.headers["id"])
        return ids


@contextmanager
def rolled_back() -> Iterator[None]:
    """A transaction, or a savepoint, that is undone at its end."""
    with transaction.atomic():
        yield
        transaction.set_rollback(True)


def forget_others() -> None:
    """Delete the jobs of other tests; to be rolled back."""
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM celery_external_job")


def states(*jobs: Any) -> list[str | None]:
    return [get_job(job).kind for job in jobs]


class InTransactions(TransactionTestCase):  # type: ignore[misc]  # Django has no types
    """Commits are commits."""

    def setUp(self) -> None:
        sent()

    def test_all_is_one_and_sent_in_order(self) -> None:
        first, second, third = ask.delay(), ask.delay(), ask.delay()

        def do_all() -> list[str]:
            Order.objects.create(name="one")
            receipts = [
                signal_succeeded(first, 1, using="default"),
                signal_failed(second, "no"),
                cancel_job(third),
            ]
            assert not any(receipt.sent for receipt in receipts)
            step: Any = chain(ask.s("x"), publish.s()).apply_async(using="default")
            return [*(receipt.job_id for receipt in receipts), step.parent.id, ask.delay("y").id]

        assert sent() == [first.id, second.id, third.id]
        with rolled_back():
            undone = do_all()
        assert (sent(), states(first, second, third)) == ([], [None] * 3)
        assert not Order.objects.exists()
        for never in undone[3:]:
            with pytest.raises(JobNotFoundError):
                get_job(never)
        with transaction.atomic():
            done = do_all()
            assert sent() == []
        assert sent() == done
        assert states(*done) == ["succeeded", "failed", "cancelled", None, None]
        assert Order.objects.get().name == "one"

    def test_a_savepoint(self) -> None:
        kept, undone = ask.delay(), ask.delay()
        sent()
        with transaction.atomic():
            with transaction.atomic():
                signal_succeeded(kept)
            with rolled_back():
                signal_succeeded(undone)
                never = ask.delay()
        assert sent() == [kept.id]
        assert states(kept, undone) == ["succeeded", None]
        with pytest.raises(JobNotFoundError):
            get_job(never)

    def test_outside_atomic_it_is_done_at_once(self) -> None:
        job = ask.apply_async(using="default")
        assert sent() == [job.id]
        assert signal_succeeded(job, using="default").sent
        assert sent() == [job.id]
        with pytest.raises(JobAlreadyCompletedError):
            signal_failed(job, "no", using="default")
        assert [entry.event for entry in get_job(job).history] == ["succeeded", "refused"]

    def test_a_refusal_leaves_the_transaction_usable(self) -> None:
        job = ask.delay()
        signal_succeeded(job)
        with transaction.atomic():
            with pytest.raises(JobAlreadyCompletedError):
                signal_failed(job, "no")
            Order.objects.create(name="one")
        assert Order.objects.exists()
        assert [entry.event for entry in get_job(job).history] == ["succeeded", "refused"]

    def test_a_lock_is_the_transactions(self) -> None:
        job, other = ask.delay(), ask.delay()
        for using in (None, "default"):
            with rolled_back():
                with lock_job(job, using=using) as locked:
                    assert locked is not None
                    locked.succeed(continue_with=ask.si("next"))
                # The next step is a row of this transaction.
                assert (get_job(job).attempt, get_job(job).state) == (2, "PENDING")
            assert (get_job(job).kind, get_job(job).attempt) == (None, 1)
        assert sent() == [job.id, other.id]
        # Outside atomic() the lock is a transaction of its own, also with using=.
        with lock_job(root_id=other.id, using="default") as locked:
            assert locked is not None
            assert connection.in_atomic_block
            locked.fail("no")
            assert sent() == []
        assert sent() == [other.id]

    def test_what_a_caller_raises_within_a_lock_is_the_callers(self) -> None:
        job = ask.delay()

        def err() -> None:
            with lock_job(job) as locked:
                assert locked is not None
                locked.succeed()
                raise OperationalError("mine")

        with pytest.raises(OperationalError, match="mine"):
            err()
        assert get_job(job).kind is None

    def test_json_and_times_are_intact(self) -> None:
        # The hour that a clock in Berlin shows twice, and what jsonb and text keep.
        for hour in (0, 1):
            deadline = datetime(2040, 10, 28, hour, 30, 0, 123456, tzinfo=UTC)
            meta = {"a": [1, 2.5, None, True, {"ü": "100 %s %% :x"}], "%(p)s": ""}
            job = ask.apply_async(deadline=deadline, meta=meta, labels=["x%"], using="default")
            found = get_job(job, using="default")
            assert (found.deadline, dict(found.meta or {})) == (deadline, meta)
            assert found.created_at is not None
            assert found.created_at.utcoffset() == timedelta(0)
            assert abs(datetime.now(UTC) - found.created_at) < timedelta(minutes=1)
            assert extend_job(
                job, deadline=deadline + timedelta(1)
            ).deadline == deadline + timedelta(1)
            page = find_jobs(
                labels=["x%"], meta={"%(p)s": ""}, order="created", root_id=job.id,
                created_since=found.created_at,
            )  # fmt: skip
            assert [one.id for one in page] == [job.id]
        result = {"deep": ["ü", 1.5, {"%s": None}]}
        signal_succeeded(job, result)
        assert get_job(job).result == result

    def test_many_at_once(self) -> None:
        texts = ["ü %s %(x)s", "NULL", '{"\\}']
        good, bad = ([ask.delay().id for _ in texts] for _ in range(2))
        given: list[Any] = [(i, Succeeded([t]), 1) for i, t in zip(good, texts, strict=True)]
        given += [(i, Failed(t)) for i, t in zip(bad, texts, strict=True)]
        with transaction.atomic():
            receipts = get_external(ask.app).signal_many(given, using="default")
        assert [(r.job_id, r.status) for r in receipts] == [(i, "applied") for i in good + bad]
        assert [get_job(i).result for i in good] == [[t] for t in texts]
        assert [get_job(i).reason for i in bad] == texts

    def test_figures_findings_and_the_purge(self) -> None:
        external = get_external(ask.app)
        with rolled_back():
            forget_others()
            job = ask.apply_async(labels=["a"])
            assert external.count_jobs(state="PENDING", labels=["a"]) == Count(1)
            assert external.stats().states["PENDING"] == Count(1)
            # Results in memory are forgotten, and nothing else is wrong.
            ill = [finding.name for finding in external.diagnose() if finding.level != "ok"]
            assert ill == ["results"]
            cancel_job(job)
            assert external.stats().owed == Count(1)
            assert sum(external.timeline().outcomes["cancelled"]) == 1
            assert external.purge(older_than=0) == 0
            with connection.cursor() as cursor:
                cursor.execute("UPDATE celery_external_job SET wake_at = NULL")
            assert external.purge(older_than=0) == 1
            assert external.count_jobs() == Count(0)

    def test_while_rows_are_read(self) -> None:
        Order.objects.bulk_create(Order(name=str(number)) for number in range(5))
        rows = Order.objects.iterator(chunk_size=1)
        next(rows)
        job = ask.delay()
        assert find_jobs(meta={}, order="created", root_id=job.id)
        assert len(list(rows)) == 4

    def test_there_is_no_other_connection(self) -> None:
        # The one that this question uses; a pool may have opened more for another test's thread.
        before = count_connections()
        assert before == 1 or connection.settings_dict["OPTIONS"].get("pool")
        with transaction.atomic():
            Order.objects.create(name="one")
            job = ask.delay()
            signal_succeeded(job, using="default")
            rerun = ask.delay()
            cancel_job(rerun)
            assert rerun_job(rerun).attempt == 2
            get_external().sweep()
            assert find_jobs(order="created")
            assert count_connections() == before
        get_external().sweep()
        assert count_connections() == before

    def test_another_thread_has_a_connection_of_its_own_and_waits_for_the_lock(self) -> None:
        job = ask.delay()
        ends: list[Any] = []
        is_begun = threading.Event()

        def fail_it() -> None:
            try:
                is_begun.set()
                signal_failed(job, "too late", app=get_external()._installation.app)  # noqa: SLF001
            except JobAlreadyCompletedError as exc:
                ends.append(exc)
            finally:
                connections["default"].close()

        other = threading.Thread(target=fail_it)
        with transaction.atomic():
            signal_succeeded(job, "first")
            other.start()
            is_begun.wait(10)
            if connection.vendor == "postgresql":
                wait_for(is_anybody_waiting, what="the other signal to wait")
            assert ends == []
        other.join(20)
        assert len(ends) == 1
        assert get_job(job).result == "first"

    def test_manual_transactions_are_refused(self) -> None:
        transaction.set_autocommit(False)
        try:
            with pytest.raises(transaction.TransactionManagementError, match="needs atomic"):
                ask.delay()
        finally:
            transaction.rollback()
            transaction.set_autocommit(True)

    def test_atomic_requests(self) -> None:
        client = Client(raise_request_exception=False)
        assert client.post("/order/cup/?fail").status_code == 500
        assert (sent(), Order.objects.count()) == ([], 0)
        job = client.post("/order/cup/").content.decode()
        assert sent() == [job]
        assert client.post("/approve/cup/?fail").status_code == 500
        assert (sent(), get_job(job).kind, Order.objects.count()) == ([], None, 1)
        assert client.post("/approve/cup/").content == b"applied"
        assert (sent(), get_job(job).kind, Order.objects.count()) == ([job], "succeeded", 0)

    def test_on_commit_as_celery_has_it(self) -> None:
        with transaction.atomic():
            ask.delay_on_commit("later")
            on_commit: Any = ask.apply_async_on_commit
            on_commit(("later",), labels=("late",))
            assert not find_jobs(order="created", labels=["late"])
            assert sent() == []
        _, last = sent()
        assert find_jobs(order="created", labels=["late"])[0].id == last


class InATestCase(TestCase):  # type: ignore[misc]  # Django has no types
    """Nothing is ever committed here, which captureOnCommitCallbacks makes up for."""

    def setUp(self) -> None:
        sent()

    def test_messages_go_out_with_the_callbacks(self) -> None:
        with self.captureOnCommitCallbacks(execute=True):
            job = ask.delay()
            assert sent() == []
        assert sent() == [job.id]
        with self.captureOnCommitCallbacks() as callbacks:
            signal_succeeded(job)
        assert (len(callbacks), sent()) == (1, [])
        callbacks[0]()
        assert sent() == [job.id]
        assert get_job(job).kind == "succeeded"

    def test_one_test_leaves_nothing_to_the_next(self) -> None:
        assert not find_jobs(order="created", labels=["left"])
        ask.apply_async(labels=["left"])

    test_and_the_other_way_round = test_one_test_leaves_nothing_to_the_next


def is_anybody_waiting() -> bool:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_locks WHERE NOT granted")
        return bool(cursor.fetchone()[0])
