"""``using=``: one transaction with the caller, and the message after its commit."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from celery import chain, chord, group
from sqlalchemy.orm import Session, scoped_session, sessionmaker

from celery_external import (
    Failed,
    JobAlreadyCompletedError,
    JobNotFoundError,
    OptionError,
    Succeeded,
    states,
)
from celery_external.installation import installation_of
from celery_external.store import read
from tests.servers import Postgres
from tests.systems import System

metadata = sa.MetaData()
order = sa.Table("shop_order", metadata, sa.Column("id", sa.Text, primary_key=True))


def prepare_sqlite(connection: Any, _record: object) -> None:
    connection.isolation_level = None
    connection.execute("PRAGMA foreign_keys = ON")


class Shop:
    """The caller: a database engine of its own, with a table of its own."""

    def __init__(self, system: System) -> None:
        self.engine = sa.create_engine(system.env["DATABASE_URL"])
        if self.engine.dialect.name == "sqlite":
            # As SQLAlchemy's documentation has it, for the sake of savepoints.
            sa.event.listen(self.engine, "connect", prepare_sqlite)
            sa.event.listen(self.engine, "begin", lambda made: made.exec_driver_sql("BEGIN"))
        metadata.create_all(self.engine, checkfirst=True)

    def write(self, connection: Any, name: str) -> None:
        """A write of the caller's."""
        connection.execute(order.insert().values(id=name))

    def orders(self) -> list[str]:
        """What others see of them."""
        with self.engine.connect() as connection:
            return sorted(connection.scalars(sa.select(order.c.id)))

    def close(self) -> None:
        self.engine.dispose()


@pytest.fixture
def shop(idle_system: System) -> Iterator[Shop]:
    with closing(Shop(idle_system)) as made:
        yield made


@contextmanager
def by_connection(shop: Shop) -> Iterator[sa.Connection]:
    with shop.engine.connect() as connection:
        yield connection


@contextmanager
def by_session(shop: Shop) -> Iterator[Session]:
    with Session(shop.engine) as session:
        yield session


@contextmanager
def by_registry(shop: Shop) -> Iterator[Any]:
    # What Flask-SQLAlchemy's db.session is.
    registry = scoped_session(sessionmaker(shop.engine))
    yield registry
    registry.remove()


@pytest.fixture(params=[by_connection, by_session, by_registry], ids=lambda made: made.__name__)
def caller(request: pytest.FixtureRequest, shop: Shop) -> Iterator[Any]:
    """Whatever can be passed as ``using=``."""
    with request.param(shop) as made:
        yield made


@pytest.fixture
def parked(idle_system: System) -> Callable[[], str]:
    """Makes jobs that are parked, and leaves the queue empty."""

    def make() -> str:
        result = idle_system.task("ask").delay()
        with idle_system.app.connection_for_read() as connection:
            channel: Any = connection.default_channel
            channel.queue_purge("celery")
        idle_system.execute(
            "UPDATE celery_external_job SET state = 'PARKED', started_at = created_at, "
            "parked_at = created_at, wake_at = NULL WHERE id = :id",
            id=result.id,
        )
        job_id: str = result.id
        return job_id

    return make


def test_a_start_is_seen_and_sent_with_the_commit(
    idle_system: System, shop: Shop, caller: Any
) -> None:
    shop.write(caller, "one")
    result = idle_system.task("ask").apply_async(("x",), using=caller)
    with pytest.raises(JobNotFoundError):
        idle_system.get(result)
    assert idle_system.external.get_job(result, using=caller).state == states.PENDING
    assert idle_system.queue_length() == 0
    caller.commit()
    assert idle_system.get(result).state == states.PENDING
    assert (shop.orders(), idle_system.queue_length()) == (["one"], 1)
    assert idle_system.external.sweep() == 0


def test_a_start_that_is_rolled_back_leaves_nothing(
    idle_system: System, shop: Shop, caller: Any
) -> None:
    shop.write(caller, "one")
    result = idle_system.task("ask").apply_async(using=caller)
    caller.rollback()
    # The same connection, used again by whoever comes next.
    shop.write(caller, "two")
    caller.commit()
    with pytest.raises(JobNotFoundError):
        idle_system.get(result)
    assert (shop.orders(), idle_system.queue_length()) == (["two"], 0)


def test_a_connection_that_is_closed_leaves_nothing(idle_system: System, shop: Shop) -> None:
    with shop.engine.connect() as connection:
        result = idle_system.task("ask").apply_async(using=connection)
    with shop.engine.begin() as connection:
        shop.write(connection, "two")
    with pytest.raises(JobNotFoundError):
        idle_system.get(result)
    assert idle_system.queue_length() == 0


def test_signals_starts_and_writes_are_one(
    idle_system: System, shop: Shop, caller: Any, parked: Callable[[], str]
) -> None:
    first, second, third = parked(), parked(), parked()
    external = idle_system.external

    def do_all() -> list[Any]:
        shop.write(caller, "one")
        return [
            external.signal_succeeded(first, 1, by="alice", using=caller),
            external.signal_failed(second, "no", using=caller),
            external.cancel_job(third, using=caller),
            idle_system.task("ask").apply_async(using=caller),
        ]

    *_, never = do_all()
    caller.rollback()
    assert [idle_system.get(job).state for job in (first, second, third)] == ["PARKED"] * 3
    assert [idle_system.get(job).history for job in (first, second, third)] == [()] * 3
    assert (shop.orders(), idle_system.queue_length()) == ([], 0)
    with pytest.raises(JobNotFoundError):
        idle_system.get(never)

    receipts = do_all()
    assert [receipt.status for receipt in receipts[:3]] == ["applied"] * 3
    assert not any(receipt.sent for receipt in receipts[:3])
    assert idle_system.queue_length() == 0
    caller.commit()
    assert [idle_system.get(job).kind for job in (first, second, third)] == [
        "succeeded",
        "failed",
        "cancelled",
    ]
    assert shop.orders() == ["one"]
    assert sent(idle_system) == [first, second, third, receipts[3].id]


def sent(system: System) -> list[str]:
    """The ids of the messages in the queue, oldest first."""
    with system.app.connection_for_read() as connection:
        queue = system.app.amqp.queues["celery"](connection.default_channel)
        ids = []
        while (found := queue.get(no_ack=True)) is not None:
            ids.append(found.headers["id"])
        return ids


def test_a_savepoint(idle_system: System, caller: Any, parked: Callable[[], str]) -> None:
    kept, undone = parked(), parked()
    with caller.begin_nested():
        idle_system.external.signal_succeeded(kept, 1, using=caller)
    assert idle_system.queue_length() == 0
    nested = caller.begin_nested()
    idle_system.external.signal_succeeded(undone, 1, using=caller)
    never = idle_system.task("ask").apply_async(using=caller)
    nested.rollback()
    caller.commit()
    assert (idle_system.get(kept).kind, idle_system.get(undone).kind) == ("succeeded", None)
    with pytest.raises(JobNotFoundError):
        idle_system.get(never)
    assert sent(idle_system) == [kept]


def test_a_commit_that_fails_sends_nothing(
    idle_system: System, shop: Shop, parked: Callable[[], str]
) -> None:
    job = parked()
    with shop.engine.begin() as setup:
        setup.exec_driver_sql("CREATE TABLE parent (id INTEGER PRIMARY KEY)")
        setup.exec_driver_sql(
            "CREATE TABLE child (id INTEGER REFERENCES parent DEFERRABLE INITIALLY DEFERRED)"
        )
    with shop.engine.connect() as connection:
        connection.exec_driver_sql("INSERT INTO child VALUES (1)")
        idle_system.external.signal_succeeded(job, 1, using=connection)
        with pytest.raises(sa.exc.IntegrityError):
            connection.commit()
    assert idle_system.get(job).state == states.PARKED
    assert idle_system.queue_length() == 0


def test_an_outer_transaction_of_a_test_suite(
    idle_system: System, shop: Shop, parked: Callable[[], str]
) -> None:
    job = parked()
    with shop.engine.connect() as connection:
        outer = connection.begin()
        with Session(connection, join_transaction_mode="create_savepoint") as session:
            idle_system.external.signal_succeeded(job, 1, using=session)
            session.commit()
        assert idle_system.queue_length() == 0
        outer.rollback()
    assert idle_system.get(job).state == states.PARKED
    assert idle_system.queue_length() == 0


def test_a_refusal_is_told_and_its_history_is_the_callers(
    idle_system: System,
    caller: Any,
    parked: Callable[[], str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    job = parked()
    idle_system.external.signal_succeeded(job, 1)
    for number, end in enumerate(("rollback", "commit"), start=1):
        with pytest.raises(JobAlreadyCompletedError):
            idle_system.external.signal_failed(job, "no", by="bob", using=caller)
        getattr(caller, end)()
        events = [entry.event for entry in idle_system.get(job).history]
        assert events == ["succeeded", "refused"][: 1 + (end == "commit")]
        assert caplog.text.count(f"Refused: Job {job} cannot be failed") == number


def test_other_calls_join_as_well(
    idle_system: System, caller: Any, parked: Callable[[], str]
) -> None:
    job, other = parked(), parked()
    external = idle_system.external
    external.extend_job(job, timeout=100, using=caller)
    external.signal_progress(job, 1, 2, using=caller)
    external.rerun_job(other, using=caller)
    receipts = external.signal_many([(job, Succeeded(1)), ("none", Failed("no"))], using=caller)
    assert [receipt.status for receipt in receipts] == ["applied", "refused"]
    assert len(external.find_jobs(order="created", state="SUCCESS", using=caller)) == 1
    assert (idle_system.get(job).deadline, idle_system.get(job).progress) == (None, None)
    assert idle_system.get(other).attempt == 1
    caller.commit()
    assert idle_system.get(job).kind == "succeeded"
    assert (idle_system.get(other).attempt, idle_system.get(other).state) == (2, "PENDING")
    assert sent(idle_system) == [other, job]


def test_a_tasks_own_signals_join_as_well(
    idle_system: System, caller: Any, parked: Callable[[], str]
) -> None:
    one, other, ask = parked(), parked(), idle_system.task("ask")
    for end in ("rollback", "commit"):
        ask.signal_succeeded(one, 1, using=caller)
        ask.signal_failed(other, "no", using=caller)
        assert [idle_system.get(job).kind for job in (one, other)] == [None, None]
        getattr(caller, end)()
    assert [idle_system.get(job).kind for job in (one, other)] == ["succeeded", "failed"]
    assert sent(idle_system) == [one, other]


def test_a_chain_and_a_group_whose_first_steps_are_external(
    idle_system: System, caller: Any
) -> None:
    ask, echo = idle_system.task("ask"), idle_system.task("echo")
    chained: Any = chain(ask.s(), echo.s()).apply_async(using=caller)
    grouped: Any = group(ask.s(), chain(ask.s(), echo.s())).apply_async(using=caller)
    assert (idle_system.queue_length(), idle_system.find_all(order="created")) == (0, [])
    caller.commit()
    assert len(idle_system.find_all(order="created")) == 3
    members = [grouped.results[0], grouped.results[1].parent]
    assert sent(idle_system) == [chained.parent.id, *(member.id for member in members)]


def test_a_later_start_is_not_sent_early(idle_system: System, caller: Any) -> None:
    result = idle_system.task("ask").apply_async(countdown=7200, using=caller)
    caller.commit()
    with idle_system.app.connection_for_read() as connection:
        queue: Any = idle_system.app.amqp.queues["celery"]
        message = queue(connection.default_channel).get(no_ack=True)
        assert message.headers["eta"] is not None
    installation = installation_of(idle_system.app)
    with installation.database.alone() as tx:
        row = read.get(tx, installation.namespace, result.id)
    assert row is not None
    # A sweep that sends it, because nobody has, sends it without its eta.
    assert row["wake_at"] - row["created_at"] > timedelta(seconds=7200)
    assert idle_system.external.sweep() == 0


def test_what_cannot_be_joined(idle_system: System, shop: Shop, postgres: Postgres) -> None:
    ask, echo = idle_system.task("ask"), idle_system.task("echo")
    with shop.engine.connect() as connection:
        with pytest.raises(OptionError, match="is for external tasks"):
            echo.apply_async(using=connection)
        # Celery copies the options of steps, and a chord's options into its body.
        with pytest.raises(TypeError):
            chain(ask.s(), echo.s().set(using=connection)).apply_async()
        with pytest.raises(TypeError):
            chord([ask.s()], echo.s()).apply_async(using=connection)
        with pytest.raises(OptionError, match="which this app does not know"):
            idle_system.app.send_task("elsewhere", using=connection)
    itself = shop.engine.execution_options(isolation_level="AUTOCOMMIT")
    with itself.connect() as connection, pytest.raises(OptionError, match="AUTOCOMMIT"):
        ask.apply_async(using=connection)
    for wrong in (shop.engine, object(), 7):
        with pytest.raises(OptionError, match="must be an SQLAlchemy Connection or Session"):
            ask.apply_async(using=wrong)
    elsewhere = sa.create_engine(postgres.create_database())
    with elsewhere.connect() as connection, pytest.raises(OptionError, match="connection to post"):
        ask.apply_async(using=connection)
    elsewhere.dispose()
    assert idle_system.find_all(order="created") == []
