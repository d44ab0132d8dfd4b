"""The floor: one row inserted, one row updated by its key, and nothing around it."""

from __future__ import annotations

import json
from typing import Any
from uuid import uuid4

from tests.benchmarks.peers.peer import OUTCOME, TEXT, Act, Peer

INSERT = "INSERT INTO floor VALUES (%s, 'PARKED', %s) RETURNING id"
UPDATE = (
    "UPDATE floor SET state = 'SUCCESS', outcome = %s WHERE id = %s AND state = 'PARKED' "
    "RETURNING id, state"
)


class Measured(Peer):
    """Bare statements through psycopg."""

    name = "floor"

    def create(self) -> Act:
        """A row with 1 KB in it."""
        connection, text = self.connect(), TEXT.encode()

        def insert(_: Any) -> None:
            connection.execute(INSERT, (str(uuid4()), text)).fetchone()

        return insert

    def complete(self) -> Act:
        """A row's outcome."""
        connection, outcome = self.connect(), json.dumps(OUTCOME).encode()

        def update(row_id: Any) -> None:
            assert connection.execute(UPDATE, (outcome, row_id)).fetchone() is not None

        return update
