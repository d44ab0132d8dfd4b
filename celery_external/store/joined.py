"""A caller's SQLAlchemy transaction (``using=``): our statements in it, our messages after it.

Rows are written on the caller's connection. SQLAlchemy has no event after a COMMIT, so the
``do_commit`` of the engine's dialect is wrapped: when it returns, the rows are there for everybody.
This only makes it fast. What is right is in the rows: the sweep sends what nobody has sent, and a
message whose transaction was rolled back finds no row.
"""

from __future__ import annotations

import asyncio
import functools
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa
from sqlalchemy import event

from celery_external.errors import DatabaseUnavailableError, OptionError

from . import read
from .database import Row, Transaction, contains_json
from .place import AfterCommit, Home, Place, go_on

_DRIVERS = {"postgresql": {"psycopg", "psycopg_async"}, "sqlite": {"pysqlite", "aiosqlite"}}
_COMMITTING = "celery_external_committing"
_PREPARED = "celery_external_prepared"


def join(database: Home, using: Any) -> Joined:
    """The caller's transaction as a place for our statements.

    Raises:
        OptionError: ``using`` is no SQLAlchemy connection or session, commits each statement by
            itself, or is connected to another database than ours.
    """
    if type(using).__module__.startswith("sqlalchemy.ext.asyncio"):
        raise OptionError("using", "is asynchronous: call inside `await session.run_sync(...)`")
    orm: Any = sys.modules.get("sqlalchemy.orm")  # who has a Session has loaded it
    if orm is not None and isinstance(using, (orm.Session, orm.scoped_session)):
        connection: sa.Connection = using.connection()
    elif isinstance(using, sa.Connection):
        connection = using
    else:
        raise OptionError(
            "using",
            "must be an SQLAlchemy Connection or Session, or the alias of a Django database, "
            f"not {type(using).__name__}",
        )
    _check(database, connection)
    return Joined(database, connection)


class Joined:
    """An SQLAlchemy transaction of the caller's."""

    defers = True

    def __init__(self, database: Home, connection: sa.Connection) -> None:
        self._database = database
        self._connection = connection

    @property
    def dialect_name(self) -> str:
        """``postgresql`` or ``sqlite``."""
        return self._database.dialect_name

    @contextmanager
    def alone(self) -> Iterator[Transaction]:
        """The caller's transaction, which begins here if it has not."""
        try:
            yield Transaction(self._database.dialect, _Cursor(self._connection))
        except (sa.exc.OperationalError, sa.exc.InterfaceError) as exc:
            raise DatabaseUnavailableError(str(self._database), str(exc.orig).strip()) from exc

    transaction = alone

    def after_commit(self, rows: list[Row], go: AfterCommit) -> None:
        """Call ``go`` when the caller has committed."""
        root = self._connection.get_transaction()
        if root is None:  # pragma: no cover - a statement of ours has begun one
            raise AssertionError
        pending = _pending.setdefault(root, _Pending(self._database))
        pending.calls.append((rows, go))


class _Cursor:
    """The driver's cursor as far as a Statement needs it, by way of the caller's Connection."""

    def __init__(self, connection: sa.Connection) -> None:
        self._connection = connection
        self._result: sa.CursorResult[Any] | None = None

    def execute(self, text: str, params: dict[str, Any]) -> None:
        self._result = self._connection.exec_driver_sql(text, params)

    def fetchall(self) -> list[Any]:
        assert self._result is not None  # noqa: S101 - a Statement executes first
        return list(self._result.fetchall())


# --- After the commit -----------------------------------------------------------------------------


class _Pending:
    """What waits for the commit of one transaction."""

    def __init__(self, database: Home) -> None:
        self.database = database
        self.calls: list[tuple[list[Row], AfterCommit]] = []
        # A savepoint was rolled back: some rows may not be what they were.
        self.is_doubtful = False

    def go(self) -> None:
        for rows, call in self.calls:
            go_on(rows, functools.partial(self._call, call))

    def _call(self, call: AfterCommit, rows: list[Row]) -> None:
        call(self._committed(rows))

    def _committed(self, rows: list[Row]) -> list[Row]:
        if not self.is_doubtful:
            return rows
        kept = []
        for row in rows:
            with self.database.alone() as tx:
                now = read.get(tx, row["namespace"], row["id"])
            if now is not None and (now["attempt"], now["kind"]) == (row["attempt"], row["kind"]):
                kept.append(row)
        return kept


_pending: weakref.WeakKeyDictionary[Any, _Pending] = weakref.WeakKeyDictionary()
_watched: weakref.WeakSet[Any] = weakref.WeakSet()
_checked: weakref.WeakKeyDictionary[sa.Engine, str] = weakref.WeakKeyDictionary()


def _watch(engine: sa.Engine) -> None:
    if engine in _watched:
        return
    event.listen(engine, "commit", _on_commit)
    event.listen(engine, "rollback", _on_rollback)
    event.listen(engine, "rollback_savepoint", _on_rollback_to_savepoint)
    _watched.add(engine)
    if engine.dialect not in _watched:
        _wrap_commit(engine.dialect)
        _watched.add(engine.dialect)


def _wrap_commit(dialect: Any) -> None:
    do_commit = dialect.do_commit

    @functools.wraps(do_commit)
    def commit_and_send(connection: Any) -> None:
        pending = connection.info.pop(_COMMITTING, None)
        do_commit(connection)
        if pending is None:
            return
        if dialect.is_async:
            from sqlalchemy.util import await_only  # noqa: PLC0415 - needs greenlet

            # The broker must not hold up the event loop.
            await_only(asyncio.to_thread(pending.go))
        else:
            pending.go()

    dialect.do_commit = commit_and_send


def _on_commit(connection: sa.Connection) -> None:
    """The COMMIT follows at once; whether it succeeds is known when ``do_commit`` returns."""
    pending = _pending.pop(connection.get_transaction(), None)
    if pending is not None:
        connection.connection.info[_COMMITTING] = pending


def _on_rollback(connection: sa.Connection) -> None:
    _pending.pop(connection.get_transaction(), None)


def _on_rollback_to_savepoint(connection: sa.Connection, _name: str, _context: None) -> None:
    pending = _pending.get(connection.get_transaction())
    if pending is not None:
        pending.is_doubtful = True


# --- Whether it is our database -------------------------------------------------------------------


def _check(database: Home, connection: sa.Connection) -> None:
    dialect = connection.dialect
    if dialect.driver not in _DRIVERS.get(dialect.name, ()):
        raise OptionError(
            "using", f"needs the driver psycopg (or SQLite's), not {dialect.name}+{dialect.driver}"
        )
    if connection._is_autocommit_isolation():  # noqa: SLF001 - asking in public costs a query
        raise OptionError("using", "is in AUTOCOMMIT mode: there is no transaction to join")
    if _checked.get(connection.engine) != str(database):
        theirs = connection.engine.url.render_as_string(hide_password=True)
        check_same(database, Joined(database, connection), dialect.name, theirs)
        _checked[connection.engine] = str(database)
    _watch(connection.engine)
    info = connection.connection.info
    # SQLite has no function made anew while a statement runs.
    if dialect.name == "sqlite" and not info.get(_PREPARED):
        connection.connection.dbapi_connection.create_function(  # type: ignore[union-attr]
            "celery_external_json_has", 2, contains_json, deterministic=True
        )
        info[_PREPARED] = True


def check_same(home: Home, theirs: Place, dialect_name: str, name: str) -> None:
    """Refuse a caller's connection to another database than the jobs'.

    Raises:
        OptionError: It is one.
    """
    if dialect_name == home.dialect_name:
        with home.alone() as ours, theirs.alone() as other:
            if ours.identity() == other.identity():
                return
    raise OptionError(
        "using",
        f"is a connection to {name}, and the jobs are in {home} "
        "(external_database_url): one transaction cannot span the two",
    )
