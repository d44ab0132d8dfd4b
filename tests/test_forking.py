"""A fork waits for the statements of other threads, on SQLite."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.rows import Rows


@pytest.fixture
def rows(sqlite_url: str) -> Iterator[Rows]:
    with closing(Rows(sqlite_url)) as made:
        yield made


def child_can_write(rows: Rows) -> bool:
    """Fork, and have the child signal a job."""
    job_id = rows.parked()
    pid = os.fork()
    if not pid:  # the child: it must not come back into pytest
        code = 1
        try:
            code = int(rows.external.signal_succeeded(job_id, 1).status != "applied")
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0


def test_a_child_is_not_forked_in_the_middle_of_a_transaction(rows: Rows) -> None:
    is_inside, may_leave, left = threading.Event(), threading.Event(), threading.Event()

    def hold() -> None:
        with rows.database.transaction():
            is_inside.set()
            may_leave.wait(30)
        left.set()

    other = threading.Thread(target=hold)
    other.start()
    is_inside.wait(30)
    # Let go once the fork has begun to wait.
    releaser = threading.Timer(0.3, may_leave.set)
    releaser.start()
    pid = os.fork()
    if not pid:
        os._exit(0 if left.is_set() or may_leave.is_set() else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    other.join()
    releaser.join()
    assert child_can_write(rows)
