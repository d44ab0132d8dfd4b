"""What is asked of a database: each statement, its values, and how many rows it fetched."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass
from typing import Any

import psycopg
import sqlalchemy as sa
from sqlalchemy import event


@dataclass
class Asked:
    """A statement that was run on our tables."""

    text: str
    params: Any
    rows: int = 0


def note_statements(engine: sa.Engine) -> list[Asked]:
    """Have the statements that are run from now on noted, on connections that it opens anew."""
    noted: list[Asked] = []

    class Noting:
        def execute(self, *given: Any, **options: Any) -> Any:
            text, params = (*given, None)[:2]
            if "celery_external_" in text:
                noted.append(Asked(text, params))
            return super().execute(*given, **options)  # type: ignore[misc]

        def fetchall(self) -> list[Any]:
            rows: list[Any] = super().fetchall()  # type: ignore[misc]
            if noted:
                noted[-1].rows += len(rows)
            return rows

    class OfPostgres(Noting, psycopg.Cursor[Any]):
        pass

    class OfSqlite(Noting, sqlite3.Cursor):
        pass

    class Connection(sqlite3.Connection):
        def cursor(self, *_given: Any) -> Any:
            return super().cursor(OfSqlite)

    def open_noting(_dialect: object, _record: object, _given: object, named: Any) -> None:
        if engine.dialect.name == "sqlite":
            named["factory"] = Connection
        else:
            named["cursor_factory"] = OfPostgres

    event.listen(engine, "do_connect", open_noting)
    engine.dispose()
    return noted
