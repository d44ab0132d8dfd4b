"""What callers do, in processes of their own: bare updates, and signals with and without a send."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from celery_external import signal_succeeded
from tests.benchmarks.app import app
from tests.benchmarks.connecting import connect
from tests.benchmarks.owing import choose_send

UPDATE = (
    "UPDATE floor SET state = 'SUCCESS', outcome = %s WHERE id = %s AND state = 'PARKED' "
    "RETURNING id, state"
)


def make_acts(env: Mapping[str, str]) -> Callable[[tuple[str, str]], object]:
    """What is called with the case's name and the id of a row, or of a job."""
    update = _make_update(env)

    def act(item: tuple[str, str]) -> None:
        case, row_id = item
        if case == "floor":
            update(row_id)
            return
        choose_send(is_sent=case == "send")
        signal_succeeded(row_id, {"approved": True}, attempt=1, by="alice", app=app)

    return act


def _make_update(env: Mapping[str, str]) -> Callable[[str], object]:
    """The floor: one row, by its key, and nothing around it."""
    connection = connect(env["DATABASE_URL"])

    def update(row_id: str) -> None:
        found = connection.execute(UPDATE, (b'{"approved": true}', row_id)).fetchone()
        assert found is not None

    return update
