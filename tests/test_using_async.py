"""``using=`` inside ``await session.run_sync(...)``: the sync side of an asynchronous session."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from sqlalchemy import make_url
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from celery_external import JobNotFoundError, OptionError, states
from tests.systems import System


async def play(system: System, *, is_kept: bool) -> Any:
    """Start a job and signal another within one asynchronous transaction."""
    url = make_url(system.env["DATABASE_URL"])
    if url.get_backend_name() == "sqlite":
        url = url.set(drivername="sqlite+aiosqlite")
    engine = create_async_engine(url)
    other = system.task("ask").delay()
    try:
        async with AsyncSession(engine) as session:

            def call(sync: Any) -> Any:
                system.external.signal_succeeded(other, 1, using=sync)
                return system.task("ask").apply_async(using=sync)

            with pytest.raises(OptionError, match="run_sync"):
                system.external.get_job(other, using=session)
            started = await session.run_sync(call)
            assert system.queue_length() == 1
            await (session.commit() if is_kept else session.rollback())
            return other, started
    finally:
        await engine.dispose()


def test_a_commit_sends(idle_system: System) -> None:
    other, started = asyncio.run(play(idle_system, is_kept=True))
    assert idle_system.get(other).kind == "succeeded"
    assert idle_system.get(started).state == states.PENDING
    assert idle_system.queue_length() == 3


def test_a_rollback_leaves_nothing(idle_system: System) -> None:
    other, started = asyncio.run(play(idle_system, is_kept=False))
    assert idle_system.get(other).history == ()
    with pytest.raises(JobNotFoundError):
        idle_system.get(started)
    assert idle_system.queue_length() == 1
