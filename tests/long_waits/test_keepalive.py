"""What the sweep renews on Redis, when, and what it leaves alone."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any

import pytest
from celery import Celery, chain, chord, group
from redis import Redis

from celery_external.keepers import keeper_of
from celery_external.store import waiting
from tests.rows import Rows
from tests.systems import System
from tests.waiting import wait_for

DAY = 24 * 3600
SHORT = 100


@pytest.fixture
def redis(result_url: str) -> Iterator[Redis]:
    """The result backend's server."""
    with closing(Redis.from_url(result_url, decode_responses=True)) as client:
        yield client


def shorten(redis: Redis) -> set[str]:
    """Have all keys end soon; their names."""
    keys = set(redis.scan_iter())
    for key in keys:
        redis.expire(key, SHORT)
    return keys


def renewed(redis: Redis) -> set[str]:
    return {key for key in redis.scan_iter() if int(redis.ttl(key)) > SHORT}


def member(ask: Any, _collect: Any) -> Any:
    return ask.s()


def first_step(ask: Any, _collect: Any) -> Any:
    return chain(ask.s(), ask.s())


def member_of_an_inner_chord(ask: Any, collect: Any) -> Any:
    return chord([ask.s(), ask.s()], collect.s())


def member_of_a_chord_in_a_chain(ask: Any, collect: Any) -> Any:
    return chain(group(ask.s(), ask.s()), collect.s(), ask.s())


def member_of_a_chord_with_a_group_behind(ask: Any, collect: Any) -> Any:
    return chain(group(ask.s(), ask.s()), collect.s(), group(ask.s(), ask.s()))


@pytest.mark.parametrize(
    ("make", "serializer"),
    [
        (member, "json"),
        (first_step, "json"),
        (first_step, "pickle"),
        (member_of_an_inner_chord, "json"),
        (member_of_a_chord_in_a_chain, "json"),
        (member_of_a_chord_with_a_group_behind, "json"),
    ],
)
def test_all_groups_that_wait_for_a_job_are_kept(
    make_system: Callable[..., System],
    redis: Redis,
    make: Callable[[Any, Any], Any],
    serializer: str,
) -> None:
    system = make_system(task_serializer=serializer, accept_content=["json", "pickle"])
    ask, collect = system.task("ask"), system.task("collect")
    # Its size is kept as soon as it is called; no ordinary member is in the way of the job's.
    chord([make(ask, collect), make(ask, collect)], collect.s()).apply_async()
    keys = shorten(redis)
    assert any(key.endswith(".s") for key in keys)
    system.external.sweep()
    assert renewed(redis) == keys


def test_nothing_is_made_shorter_or_made(idle_system: System, redis: Redis) -> None:
    ask, collect = idle_system.task("ask"), idle_system.task("collect")
    chord([ask.s(), ask.s()], collect.s()).apply_async()
    (size,) = redis.scan_iter()
    base = size.removesuffix(".s")
    redis.persist(size)
    redis.set(f"{base}.t", 0, ex=10 * DAY)
    # The claim of a worker that starts the body: where that worker dies, another takes over.
    redis.set(f"{base}.c", "claim", ex=SHORT)
    idle_system.external.sweep()
    assert set(redis.scan_iter()) == {size, f"{base}.t", f"{base}.c"}
    assert redis.ttl(size) == -1
    assert int(redis.ttl(f"{base}.t")) > 9 * DAY
    assert int(redis.ttl(f"{base}.c")) <= SHORT


def test_once_in_a_quarter_of_the_expiry(make_system: Callable[..., System], redis: Redis) -> None:
    slow, fast = make_system(), make_system(result_expires=6, external_namespace="other")
    for system in (slow, fast):
        ask, collect = system.task("ask"), system.task("collect")
        chord([ask.s(), ask.s()], collect.s()).apply_async()
    of_slow, of_fast = sorted(redis.scan_iter(), key=lambda key: -int(redis.ttl(key)))
    for system in (slow, fast):
        system.external.sweep()
    redis.expire(of_slow, SHORT)
    redis.expire(of_fast, 3)

    def sweep_again() -> bool:
        for system in (slow, fast):
            system.external.sweep()
        return int(redis.pttl(of_fast)) > 4000

    wait_for(sweep_again, timeout=3, what="the fast one's next time")
    assert int(redis.ttl(of_slow)) <= SHORT


@pytest.mark.parametrize(
    ("change", "is_kept"),
    [
        ("state = 'PARKED', wake_at = NULL", True),
        ("state = 'SUCCESS', kind = 'succeeded', completed_at = :long_ago", True),  # owed
        ("state = 'SUCCESS', kind = 'succeeded', completed_at = created_at, wake_at = NULL", True),
        ("state = 'SUCCESS', kind = 'succeeded', completed_at = :long_ago, wake_at = NULL", False),
    ],
)
def test_for_open_jobs_and_those_that_have_just_ended(
    idle_system: System, redis: Redis, change: str, *, is_kept: bool
) -> None:
    ask, collect = idle_system.task("ask"), idle_system.task("collect")
    chord([ask.s(), ask.s()], collect.s()).apply_async()
    times = {"long_ago": "2020-01-01 00:00:00.000000"} if ":long_ago" in change else {}
    idle_system.execute(f"UPDATE celery_external_job SET {change}", **times)  # noqa: S608
    keys = shorten(redis)
    idle_system.external.sweep()
    assert renewed(redis) == (keys if is_kept else set())


@pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")  # Celery's
def test_a_saved_group_and_its_members_results(idle_system: System, redis: Redis) -> None:
    ask, echo = idle_system.task("ask"), idle_system.task("echo")
    result: Any = group(ask.s(), chain(echo.s(1), echo.s()), ask.s()).apply_async()
    result.save()
    other = idle_system.app.backend
    for task_id in (result.results[1].id, result.results[1].parent.id, "a stranger"):
        other.store_result(task_id, 1, "SUCCESS")
    keys = shorten(redis)
    idle_system.external.sweep()
    assert keys - renewed(redis) == {"celery-task-meta-a stranger"}


@pytest.mark.parametrize(
    ("conf", "lifetime"),
    [
        ({"result_expires": None}, None),
        ({"result_expires": 0}, None),
        ({"result_expires": 100}, 100),
        ({"result_expires": 100, "result_chord_expires": 200}, 200),
        ({"result_expires": 0, "result_chord_expires": 200}, 200),
    ],
)
def test_nothing_to_do_where_nothing_expires(
    redis: Redis, result_url: str, conf: dict[str, Any], lifetime: float | None
) -> None:
    del redis
    app = Celery(backend=result_url, set_as_current=False)
    app.conf.update(conf)
    keeper = keeper_of(app.backend)
    assert (None if keeper is None else keeper.lifetime) == lifetime
    app.close()


def test_a_result_backend_that_is_away_keeps_nobody_from_sweeping(
    make_system: Callable[..., System], caplog: pytest.LogCaptureFixture
) -> None:
    system = make_system()
    system.task("ask").apply_async(expires=-1)
    chord([system.task("ask").s(), system.task("ask").s()], system.task("echo").s()).apply_async()
    away = Celery(backend="redis://127.0.0.1:1/0", set_as_current=False)
    system.app._local.backend = away.backend  # type: ignore[attr-defined]  # noqa: SLF001
    with caplog.at_level(logging.WARNING, "celery_external"):
        assert system.external.sweep() == 1
    assert "Groups are not kept alive now" in caplog.text


def test_a_message_that_cannot_be_read_does_not_stop_the_others(
    idle_system: System, redis: Redis
) -> None:
    ask, collect = idle_system.task("ask"), idle_system.task("collect")
    broken: Any = chord([ask.s(), ask.s()], collect.s()).apply_async()
    chord([chain(ask.s(), ask.s()), ask.s()], collect.s()).apply_async()
    idle_system.execute(
        "UPDATE celery_external_job SET envelope = replace(envelope, 'json', 'nonsense') "
        "WHERE group_id = :broken",
        broken=broken.parent.id,
    )
    keys = shorten(redis)
    idle_system.external.sweep()
    assert renewed(redis) == keys


# --- Who is asked for -----------------------------------------------------------------------------


def test_batch_after_batch_each_once(rows: Rows) -> None:
    first = rows.pending(group_id="g")
    others = rows.copy(first, 2 * waiting.BATCH)
    batches = list(waiting.find_members(rows.database, rows.namespace, 60))
    assert [len(batch) for batch in batches] == [waiting.BATCH, waiting.BATCH, 1]
    found = [row["id"] for batch in batches for row in batch]
    assert sorted(found) == sorted([first, *others])


def test_jobs_of_no_group_are_not_read(rows: Rows) -> None:
    rows.parked()
    chain(rows.task.s(), rows.task.s()).apply_async(link=rows.task.s())
    assert rows.count() == 2
    assert list(waiting.find_members(rows.database, rows.namespace, 60)) == []
