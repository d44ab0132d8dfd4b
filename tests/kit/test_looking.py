"""What is parked is found, and what is not is shown."""

from __future__ import annotations

import pytest

from celery_external import (
    Succeeded,
)
from celery_external.testing import Kit
from tests.kit.conftest import start
from tests.rows import Rows
from tests.systems import System


def test_parked_jobs_are_found_by_what_they_are(kit: Kit, shop: System) -> None:
    ask = shop.task("ask")
    first = start(kit, ask.s(1), labels=["vip"], meta={"order": {"id": 1, "sum": 5}})
    second = start(kit, ask.s(2))
    third = start(kit, shop.task("ask_bound").s("why"))
    assert [job.id for job in kit.parked()] == [first.id, second.id, third.id]
    assert [job.id for job in kit.parked(ask)] == [first.id, second.id]
    assert [job.id for job in kit.parked(ask.name, labels=["vip"])] == [first.id]
    assert kit.assert_parked(meta={"order": {"id": 1}}).id == first.id
    assert kit.assert_parked(reference="ref-why").id == third.id
    assert kit.assert_parked(root_id=second.id).id == second.id
    assert [job.id for job in kit.assert_parked(labels=["plain"], count=2)] == [first.id, second.id]
    kit.assert_not_parked(labels=["gold"])
    kit.signal(first, Succeeded())
    kit.assert_not_parked(labels=["vip"])


def test_what_is_not_parked_is_shown(kit: Kit, shop: System) -> None:
    parked = start(
        kit,
        shop.task("ask_bound").s("why"),
        labels=["vip", "gold"],
        meta={"text": "A mug with a cat, and a second one"},
    )
    broken = start(kit, shop.task("ask_badly").s())
    pending = shop.task("ask").delay()
    with pytest.raises(AssertionError) as raised:
        kit.assert_parked(shop.task("ask"), labels=["plain"], meta=None)
    # In columns as wide as their widest cells.
    table = [
        ("state", "task", "attempt", "labels", "reference", "meta", "reason", "id"),
        ("PARKED", "tests.apps.core.ask_bound", "1", "vip, gold", "ref-why",
         '{"text": "A mug with a cat, and a secon…', "-", parked.id),
        ("PENDING", "tests.apps.core.ask", "1", "plain", "-", "-", "-", pending.id),
        ("FAILURE", "tests.apps.core.ask_badly", "1", "-", "-", "-",
         "ValueError: no such provider", broken.id),
    ]  # fmt: skip
    widths = (7, 25, 7, 9, 9, 40, 28, 36)

    def in_columns(row: tuple[str, ...]) -> str:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        return f"  {'  '.join(cells).rstrip()}"

    assert str(raised.value).splitlines() == [
        "Expected 1 parked job with task='tests.apps.core.ask', labels=['plain'], found none.",
        "The jobs are:",
        *(in_columns(row) for row in table),
        "Messages in the queues, which drain() runs: 1.",
    ]


def test_that_nothing_is_there_is_said(memory: Kit) -> None:
    with pytest.raises(AssertionError) as raised:
        memory.assert_parked(count=2)
    assert str(raised.value) == "Expected 2 parked jobs, found none.\nThere are no jobs."


def test_too_many_are_shown_as_far_as_they_fit(memory: Kit, shop: System) -> None:
    for _ in range(52):
        shop.task("ask").delay()
    memory.drain()
    with pytest.raises(AssertionError) as raised:
        memory.assert_not_parked()
    lines = str(raised.value).splitlines()
    assert (lines[0], lines[-1], len(lines)) == (
        "Expected no parked jobs, found 52.", "  and 2 more", 54,
    )  # fmt: skip


def test_more_jobs_than_a_page_holds_are_found(rows: Rows) -> None:
    rows.copy(rows.parked(), 1000)
    assert len({job.id for job in Kit(rows.app).assert_parked(rows.task, count=1001)}) == 1001
