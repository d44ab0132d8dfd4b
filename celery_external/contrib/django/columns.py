"""Columns of the jobs' table as Django's fields: times in UTC, and labels that are found."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

from django.conf import settings
from django.db import models
from django.db.models.lookups import Lookup
from django.utils import timezone


class Moment(models.DateTimeField):  # type: ignore[misc]  # Django has no types
    """A time as ``celery_external.schema.UtcDateTime`` keeps it, whatever Django's zones are."""

    def get_internal_type(self) -> str:
        """Text, on SQLite: Django would read it in the connection's zone."""
        return "TextField"

    def from_db_value(self, value: Any, _expression: Any, _connection: Any) -> Any:
        """On the way out; without USE_TZ a naive time of Django's zone, as Django has it."""
        if not isinstance(value, str):
            return value
        moment = datetime.fromisoformat(value).replace(tzinfo=UTC)
        return moment if settings.USE_TZ else timezone.make_naive(moment)


class Labels(models.JSONField):  # type: ignore[misc]
    """A tuple of texts, as JSON."""


@Labels.register_lookup
class Has(Lookup):  # type: ignore[misc]
    """``labels__has="x"``: x is one of them. Looked up in the index on PostgreSQL."""

    lookup_name = "has"
    prepare_rhs = False

    def as_postgresql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """On PostgreSQL."""
        column, params = self.process_lhs(compiler, connection)
        return f"{column} @> %s::jsonb", [*params, json.dumps([self.rhs], ensure_ascii=False)]

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:
        """On SQLite."""
        column, params = self.process_lhs(compiler, connection)
        query = f"EXISTS (SELECT 1 FROM json_each({column}) WHERE value = %s)"  # noqa: S608 - ours
        return query, [*params, self.rhs]


class Unsettled(models.Func):  # type: ignore[misc]
    """Whether a job is open or owed, in the words of the index of those: ``schema.UNSETTLED``."""

    output_field = models.BooleanField()

    def __init__(self) -> None:
        super().__init__(models.F("kind"), models.F("wake_at"))

    def as_sql(self, compiler: Any, _connection: Any, **_context: Any) -> tuple[str, list[Any]]:
        """The index is taken by whoever says the very same."""
        kind, wake_at = (compiler.compile(one)[0] for one in self.get_source_expressions())
        is_unsettled = f"{kind} IS NULL OR {wake_at} IS NOT NULL"
        return f"(CASE WHEN ({is_unsettled}) THEN 1 ELSE 0 END = 1)", []
