"""A database: its pool, its transactions, and statements that are compiled once.

Statements are written in SQLAlchemy Core and run on the driver's own cursor: for a signal,
``Connection.execute`` costs more than the row update that it carries.
"""

from __future__ import annotations

import json
import logging
import os
import select
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

import sqlalchemy as sa
from sqlalchemy import event

from celery_external import schema
from celery_external.errors import DatabaseUnavailableError

from .forking import ForkGate, leave_after_fork
from .place import AfterCommit
from .url import check_url

if TYPE_CHECKING:
    import sqlite3

logger = logging.getLogger("celery_external")

Row: TypeAlias = dict[str, Any]

#: Seconds for which a writer on SQLite waits for its turn.
BUSY_TIMEOUT = 30


class Statement:
    """One SQL statement, compiled once per dialect; ``build`` makes it for a dialect's name."""

    def __init__(self, build: Callable[[str], Any]) -> None:
        self._build = build
        self._prepared: dict[tuple[str, str], _Prepared] = {}

    def prepared(self, dialect: sa.Dialect) -> _Prepared:
        """The statement for a dialect, compiled on first use."""
        key = (dialect.name, dialect.paramstyle)
        found = self._prepared.get(key)
        if found is None:
            found = self._prepared[key] = _Prepared(self._build(dialect.name), dialect)
        return found


class _Prepared:
    """The text of a statement for one dialect, with what its values pass on the way."""

    def __init__(self, core: Any, dialect: sa.Dialect) -> None:
        compiled = core.compile(dialect=dialect)
        self.text = str(compiled)
        self._fixed = {
            name: bind.value for name, bind in compiled.binds.items() if not bind.required
        }
        self._binders = [
            (name, binder)
            for name, bind in compiled.binds.items()
            if (binder := bind.type.dialect_impl(dialect).bind_processor(dialect))
        ]
        columns = list(getattr(core, "exported_columns", ()))
        self._keys = [column.key for column in columns]
        self._readers = [
            (column.key, reader)
            for column in columns
            if not isinstance(column.type, sa.Float)  # which drivers read by themselves
            and (reader := column.type.dialect_impl(dialect).result_processor(dialect, None))
        ]

    def run(self, cursor: Any, values: Mapping[str, Any]) -> list[Row]:
        params = {**self._fixed, **values}
        for name, binder in self._binders:
            params[name] = binder(params[name])
        cursor.execute(self.text, params)
        if not self._keys:
            return []
        rows = [dict(zip(self._keys, row, strict=True)) for row in cursor.fetchall()]
        for name, reader in self._readers:
            for row in rows:
                row[name] = reader(row[name])
        return rows


class Transaction:
    """Runs statements where they belong together: all of them count, or none."""

    def __init__(self, dialect: sa.Dialect, cursor: Any) -> None:
        self.dialect = dialect
        self._cursor = cursor

    def all(self, statement: Statement, **values: Any) -> list[Row]:
        """Run the statement and return its rows."""
        return statement.prepared(self.dialect).run(self._cursor, values)

    def one(self, statement: Statement, **values: Any) -> Row | None:
        """Run the statement and return its only row, if there is one."""
        rows = self.all(statement, **values)
        return rows[0] if rows else None

    def identity(self) -> tuple[Any, ...]:
        """What two connections agree on if, and only if, they see the same tables."""
        if self.dialect.name == "postgresql":
            self._cursor.execute(_IDENTITY, {})
            return tuple(self._cursor.fetchall()[0])
        self._cursor.execute("PRAGMA database_list", {})
        path = next(path for _number, name, path in self._cursor.fetchall() if name == "main")
        try:
            found = Path(path).stat() if path else None
        except FileNotFoundError:
            found = None
        # One in memory, or not yet written, is nobody else's.
        return (found.st_dev, found.st_ino) if found else (object(),)


_IDENTITY = (
    "SELECT current_database(), to_regclass('celery_external_job')::oid, "
    "CAST(extract(epoch FROM pg_postmaster_start_time()) AS text)"
)


class Database:
    """The jobs' database, reached by its own pooled connections.

    Raises:
        SettingsError: The URL cannot be used.
    """

    #: Every statement, or every :meth:`transaction`, is committed when it returns.
    defers = False
    upgrade_command = "celery -A <your app> external upgrade"

    def __init__(self, url: str) -> None:
        self.url = check_url(url)
        self.dialect_name = self.url.get_backend_name()
        self._gate = ForkGate() if self.dialect_name == "sqlite" else None
        leave_after_fork(self)

    def __str__(self) -> str:
        """For messages: the URL without its password, a file by its absolute path."""
        if self.dialect_name == "sqlite":
            return f"sqlite:///{os.path.abspath(self.url.database or '')}"  # noqa: PTH100
        # libpq takes a password among the query's options, too.
        shown = self.url.difference_update_query(["password", "sslpassword"])
        return shown.render_as_string(hide_password=True)

    @property
    def makes_itself(self) -> bool:
        """The embedded default has its tables made on first use."""
        return self.dialect_name == "sqlite"

    @property
    def dialect(self) -> sa.Dialect:
        """What statements are compiled for."""
        return self.engine.dialect

    @cached_property
    def engine(self) -> sa.Engine:
        """Made on first use: importing the package opens nothing."""
        # BEGIN and COMMIT are said where there is more than one statement; alone, a statement
        # is its own transaction, and that is one round trip in place of three.
        if self.dialect_name == "sqlite":
            engine = sa.create_engine(
                self.url,
                isolation_level="AUTOCOMMIT",
                paramstyle="named",
                connect_args={"timeout": BUSY_TIMEOUT},
            )
            event.listen(engine, "connect", _prepare_sqlite)
            return engine
        engine = sa.create_engine(self.url, isolation_level="AUTOCOMMIT")
        event.listen(engine, "checkin", _note_use)
        event.listen(engine, "checkout", _refuse_stale)
        return engine

    @contextmanager
    def alone(self) -> Iterator[Transaction]:
        """For a single statement, which needs no transaction around it."""
        with self._cursor() as cursor:
            yield Transaction(self.dialect, cursor)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """For several statements. Writers on SQLite take turns from the beginning."""
        with self._cursor() as cursor:
            cursor.execute("BEGIN IMMEDIATE" if self.dialect_name == "sqlite" else "BEGIN")
            try:
                yield Transaction(self.dialect, cursor)
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")

    @contextmanager
    def _cursor(self) -> Iterator[Any]:
        with self.guarded():
            pool = self.engine.pool
            raw = self.engine.raw_connection()
            try:
                # Kept with its connection: it knows by now how each column is read.
                cursor = raw.info.get("cursor")
                if cursor is None:
                    cursor = raw.info["cursor"] = raw.cursor()
                yield cursor
            except self._unavailable as exc:
                raw.invalidate(exc)
                raise
            finally:
                raw.close()
                if self.engine.pool is not pool:
                    pool.dispose()  # another thread has given it up meanwhile

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn "the database is away" into one error of ours.

        Raises:
            DatabaseUnavailableError: It could not be reached, broke off or was too busy.
        """
        try:
            with self._gate.statement() if self._gate else nullcontext():
                yield
        except self._unavailable as exc:
            # The other pooled connections have most likely gone the same way.
            self.engine.dispose()
            problem = exc.orig if isinstance(exc, sa.exc.OperationalError) else exc
            raise DatabaseUnavailableError(str(self), str(problem).strip()) from exc

    @property
    def _unavailable(self) -> tuple[type[Exception], ...]:
        dbapi: Any = self.engine.dialect.dbapi
        return (
            dbapi.OperationalError,
            dbapi.InterfaceError,
            dbapi.InternalError,  # a server that has failed over reads only
            sa.exc.OperationalError,
            sa.exc.TimeoutError,
        )

    def is_integrity_error(self, error: BaseException) -> bool:
        """Whether a write broke a unique index."""
        return isinstance(error, self.engine.dialect.dbapi.IntegrityError)  # type: ignore[union-attr]

    def read_revision(self) -> str | None:
        """The schema's revision, None when there are no tables of ours."""
        with self.engine.connect() as connection:
            if not sa.inspect(connection).has_table(schema.VERSION_TABLE):
                return None
            version = sa.table(schema.VERSION_TABLE, sa.column("version_num"))
            found: str | None = connection.execute(sa.select(version.c.version_num)).scalar()
            return found

    def upgrade(self, migrate: Callable[[sa.Engine], None]) -> None:
        """Have the tables brought up to date."""
        with self.guarded():
            migrate(self.engine)

    def after_commit(self, rows: list[Row], go: AfterCommit) -> None:
        """At once: our own transactions are over when they return."""
        go(rows)

    def rest(self, *, is_over: bool = False) -> None:
        """A thread of ours pauses, or ends: the pool has its connections back already."""

    def dispose(self) -> None:
        """Close the pooled connections; the next call opens new ones."""
        if "engine" in self.__dict__:
            self.engine.dispose()

    def leave_to_parent(self) -> None:
        """After a fork: forget the connections without closing what the parent still uses."""
        if "engine" in self.__dict__:
            self.engine.dispose(close=False)


#: Seconds after which a connection is looked at, and asked, whether it still works: a server that
#: ends says so, what only passes on may forget without a word.
_REST = 0.05
_LONG_REST = 60.0


def _note_use(_connection: object, record: Any) -> None:
    record.info["used_at"] = time.monotonic()


def _refuse_stale(connection: Any, record: Any, _proxy: object) -> None:
    """A server that was restarted must not cost the next caller an error, nor each a round trip."""
    rested = (now := time.monotonic()) - record.info.get("used_at", now)
    if rested < _REST or (rested < _LONG_REST and _is_silent(connection)):
        return
    try:
        connection.execute("SELECT 1")
    except Exception as exc:
        raise sa.exc.DisconnectionError from exc


def _is_silent(connection: Any) -> bool:
    """Whether the server has sent nothing meanwhile: its goodbye would be there to be read."""
    if connection.closed:
        return False
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN)
    return not poll.poll(0)


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    _use_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.create_function("celery_external_json_has", 2, contains_json, deterministic=True)


def _use_wal(connection: sqlite3.Connection) -> None:
    import sqlite3  # noqa: PLC0415 - loaded by now; above, it would be for PostgreSQL as well

    # The file remembers it, so this is for whoever meets it first. SQLite does not wait for the
    # lock that the change takes, and a worker and a web server may well start together.
    give_up_at = time.monotonic() + BUSY_TIMEOUT
    while connection.execute("PRAGMA journal_mode").fetchone() != ("wal",):
        try:
            connection.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError:
            if time.monotonic() > give_up_at:
                raise
            time.sleep(0.01)


def contains_json(left: str | None, right: str | None) -> bool:
    """Whether the JSON on the left contains the JSON on the right; SQLite's ``json_has``."""
    if left is None or right is None:
        return False
    return _contains(json.loads(left), json.loads(right))


def _contains(whole: Any, part: Any) -> bool:
    """PostgreSQL's ``@>``: objects and arrays by their parts, everything else by equality."""
    if isinstance(part, dict):
        return isinstance(whole, dict) and all(
            key in whole and _contains(whole[key], value) for key, value in part.items()
        )
    if isinstance(part, list):
        return isinstance(whole, list) and all(
            any(_contains(item, wanted) for item in whole) for wanted in part
        )
    same_kind = isinstance(whole, bool) == isinstance(part, bool)
    return same_kind and not isinstance(whole, (dict, list)) and bool(whole == part)
