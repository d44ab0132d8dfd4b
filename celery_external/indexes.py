"""The tables' indexes, for who makes the tables or compares them: statements need not know them.

Apart from the tables: for ``postgresql_where`` SQLAlchemy loads its dialects, which costs more than
the whole of this package.
"""

from __future__ import annotations

from typing import Final

import sqlalchemy as sa

from . import schema
from .schema import UNSETTLED, history, job, kept_signal

#: The tables with their indexes.
metadata: Final = schema.metadata

_c = job.c
sa.Index(
    "celery_external_job_wake_at",
    _c.namespace,
    _c.wake_at,
    postgresql_where=_c.wake_at.is_not(None),
    sqlite_where=_c.wake_at.is_not(None),
)
sa.Index("celery_external_job_created_at", _c.namespace, _c.created_at, _c.id)
# What has not come to it yet costs nothing there.
for _order in ("parked_at", "completed_at"):
    sa.Index(
        f"celery_external_job_{_order}",
        _c.namespace,
        _c[_order],
        _c.id,
        postgresql_where=_c[_order].is_not(None),
        sqlite_where=_c[_order].is_not(None),
    )
sa.Index("celery_external_job_root_id", _c.namespace, _c.root_id)
# What is open or owed; a job that is settled leaves it.
sa.Index(
    "celery_external_job_unsettled",
    _c.namespace,
    _c.state,
    _c.task,
    _c.parked_at,
    _c.id,
    _c.sends,
    postgresql_where=UNSETTLED,
    sqlite_where=UNSETTLED,
)
sa.Index("celery_external_job_labels", _c.labels, postgresql_using="gin").ddl_if(
    dialect="postgresql"
)
sa.Index(
    "celery_external_job_reference",
    _c.namespace,
    _c.task,
    _c.reference,
    unique=True,
    postgresql_where=_c.reference.is_not(None),
    sqlite_where=_c.reference.is_not(None),
)
sa.Index("celery_external_history_job", history.c.namespace, history.c.job_id, history.c.id)
sa.Index("celery_external_kept_signal_wake_at", kept_signal.c.namespace, kept_signal.c.wake_at)
sa.Index(
    "celery_external_kept_signal_job",
    kept_signal.c.namespace,
    kept_signal.c.job_id,
    postgresql_where=kept_signal.c.job_id.is_not(None),
    sqlite_where=kept_signal.c.job_id.is_not(None),
)
sa.Index(
    "celery_external_kept_signal_reference",
    kept_signal.c.namespace,
    kept_signal.c.task,
    kept_signal.c.reference,
    postgresql_where=kept_signal.c.reference.is_not(None),
    sqlite_where=kept_signal.c.reference.is_not(None),
)
