"""The histories of several jobs, looked up together."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

import sqlalchemy as sa

from celery_external.schema import Json, history

from .database import Row, Statement, Transaction
from .noted import p
from .sql import is_among

_HISTORIES = Statement(
    lambda _: (
        sa.select(history)
        .where(history.c.namespace == p("namespace"), is_among(history.c.job_id, p("ids", Json())))
        .order_by(history.c.id)
    )
)


def get_histories(tx: Transaction, namespace: str, job_ids: Sequence[str]) -> dict[str, list[Row]]:
    """Each job's history, oldest first, by its id; none for a job that has none."""
    found: dict[str, list[Row]] = defaultdict(list)
    for line in tx.all(_HISTORIES, p_namespace=namespace, p_ids=list(job_ids)):
        found[line["job_id"]].append(line)
    return found
