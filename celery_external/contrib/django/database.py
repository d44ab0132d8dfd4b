"""Our statements on Django's own connections: its transactions, its commits, its errors."""

from __future__ import annotations

import re
import sys
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from functools import cache
from typing import Any, NoReturn

from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.db import connections, transaction
from django.db.utils import IntegrityError, InterfaceError, InternalError, OperationalError

from celery_external import schema
from celery_external.errors import DatabaseUnavailableError, OptionError, SettingsError
from celery_external.store.database import Row, Transaction, contains_json
from celery_external.store.forking import ForkGate, leave_after_fork
from celery_external.store.joined import check_same
from celery_external.store.place import AfterCommit, Home, Place, go_on
from celery_external.store.url import dialect_for

PACKAGE = "celery_external.contrib.django"
_SETTING = "external_database_url"
_URL = re.compile(r"django://([^/?#@:\s]+)/?")

#: A connection that has rested longer is asked whether it still works (seconds).
_REST = 1.0
#: A writer on SQLite takes its turn at the beginning, as by BEGIN IMMEDIATE.
_TAKE_TURN = f"UPDATE {schema.VERSION_TABLE} SET version_num = version_num WHERE 0"  # noqa: S608 - ours


# --- Which database -------------------------------------------------------------------------------


def default_url() -> str | None:
    """Where the jobs are when no setting says so; None: nowhere in Django."""
    return "django://default" if _is_installed() else None


def _is_installed() -> bool:
    try:
        names = settings.INSTALLED_APPS
    except (ImproperlyConfigured, ImportError):
        return False
    return any(name == PACKAGE or name.startswith(f"{PACKAGE}.") for name in names)


def alias_in(url: str) -> str | None:
    """The alias of ``django://alias``; None for another kind of URL."""
    found = _URL.fullmatch(url)
    return found[1] if found else None


def home_of(url: str) -> Home:
    """The jobs' database by its URL.

    Raises:
        SettingsError: Django, or its settings, are not ready for it.
    """
    alias = alias_in(url)
    if alias is None:
        raise SettingsError(_SETTING, "must be django:// and an alias of DATABASES, and no more")
    try:
        problem = _problem_of(alias)
    except ImproperlyConfigured as exc:
        raise SettingsError(_SETTING, f"needs Django's settings: {exc}") from exc
    if problem is None and not _is_installed():
        problem = f'needs "{PACKAGE}" in INSTALLED_APPS, and then `manage.py migrate`'
    if problem is not None:
        raise SettingsError(_SETTING, problem)
    return home_on(alias)


def join(home: Home, alias: str) -> Place:
    """Django's transaction on an alias, as a place for our statements.

    Raises:
        OptionError: There is no such alias, or it is another database than the jobs'.
    """
    try:
        problem = _problem_of(alias)
    except ImproperlyConfigured as exc:
        problem = f"needs Django's settings: {exc}"
    if problem is not None:
        raise OptionError("using", problem)
    place = home_on(alias)
    if place is not home:
        place.check(home)
    return place


def _problem_of(alias: str) -> str | None:
    if alias not in connections:
        return f"there is no {alias!r} in Django's DATABASES, only {', '.join(connections)}"
    connection = connections[alias]
    if connection.vendor == "postgresql" and connection.Database.__name__ == "psycopg":
        return None
    if connection.vendor == "sqlite":
        return None
    return f"Django's {alias!r} must be PostgreSQL with psycopg 3, or SQLite"


@cache
def home_on(alias: str) -> DjangoDatabase:
    """The database of an alias: one for the process, whoever asks."""
    return DjangoDatabase(alias)


# --- The database ---------------------------------------------------------------------------------


@dataclass
class _Seen:
    """What is known of one of Django's connections."""

    #: The driver's connection that has been prepared.
    prepared: Any = None
    used_at: float = 0.0


class DjangoDatabase:
    """A database of Django's. Each thread has Django's connection to it, and no other."""

    makes_itself = False

    def __init__(self, alias: str) -> None:
        self.alias = alias
        self.dialect_name: str = connections[alias].vendor
        self.dialect = dialect_for(self.dialect_name)
        self.upgrade_command = f"python manage.py migrate celery_external --database={alias}"
        self._gate = ForkGate() if self.dialect_name == "sqlite" else None
        self._seen: weakref.WeakKeyDictionary[Any, _Seen] = weakref.WeakKeyDictionary()
        #: The addresses that have been found to be another home's.
        self._same: set[tuple[str, ...]] = set()
        leave_after_fork(self)

    def __str__(self) -> str:
        """For messages: the alias and what is behind it."""
        return (
            f"django://{self.alias} ({self.dialect_name} {self._connection.settings_dict['NAME']})"
        )

    @property
    def _connection(self) -> Any:
        """This thread's."""
        return connections[self.alias]

    @property
    def defers(self) -> bool:
        """Whether an ``atomic()`` is open."""
        return bool(self._connection.in_atomic_block)

    @contextmanager
    def alone(self) -> Iterator[Transaction]:
        """For a single statement: a failure leaves ``atomic()`` usable, by a savepoint."""
        savepoint = self._atomic() if self.defers else nullcontext()
        with self._whole(), savepoint, self._cursor() as cursor:
            yield Transaction(self.dialect, cursor)

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """For several statements: ``atomic()``."""
        takes_turn = self.dialect_name == "sqlite" and not self.defers
        with self._whole(), self._atomic(), self._cursor() as cursor:
            if takes_turn:
                cursor.execute(_TAKE_TURN, {})
            yield Transaction(self.dialect, cursor)

    def _whole(self) -> AbstractContextManager[None]:
        """No fork of the process in the middle."""
        return self._gate.statement() if self._gate else nullcontext()

    @contextmanager
    def _atomic(self) -> Iterator[None]:
        # Not `with atomic()`: what the caller's own code raises within is the caller's.
        block = transaction.atomic(using=self.alias)
        self._look_at_connection()
        with self.guarded():
            block.__enter__()
        try:
            yield
        except BaseException:
            block.__exit__(*sys.exc_info())
            raise
        with self.guarded():
            block.__exit__(None, None, None)

    @contextmanager
    def _cursor(self) -> Iterator[_Cursor]:
        self._look_at_connection()
        with self.guarded():
            cursor = self._connection.cursor()
            self._prepare()
        with cursor:
            yield _Cursor(self, cursor)

    def _look_at_connection(self) -> None:
        """A server that was restarted must not cost the next caller an error."""
        connection = self._connection
        if connection.in_atomic_block:
            return
        seen = self._seen.setdefault(connection, _Seen())
        now = time.monotonic()
        has_rested = now - seen.used_at > _REST and connection.connection is not None
        if has_rested and not connection.is_usable():
            connection.close()
        with self.guarded():
            is_by_hand = not connection.get_autocommit()
        if is_by_hand:
            raise transaction.TransactionManagementError(
                "celery-external needs atomic(): nobody tells it of a commit by hand"
            )
        seen.used_at = now

    def _prepare(self) -> None:
        if self.dialect_name == "postgresql":
            return
        connection = self._connection
        seen = self._seen.setdefault(connection, _Seen())
        # SQLite has no function made anew while a statement runs.
        if seen.prepared is not connection.connection:
            connection.connection.create_function(
                "celery_external_json_has", 2, contains_json, deterministic=True
            )
            seen.prepared = connection.connection

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn "the database is away" into one error of ours.

        Raises:
            DatabaseUnavailableError: It could not be reached, broke off or was too busy.
        """
        connection = self._connection
        unavailable: tuple[type[Exception], ...] = (OperationalError, InterfaceError)
        if not connection.in_atomic_block:
            # A server that has failed over reads only. In the caller's transaction it is most
            # likely the caller's: PostgreSQL goes on with none that had an error.
            unavailable += (InternalError,)
        try:
            yield
        except unavailable as exc:
            connection.close_if_unusable_or_obsolete()
            raise DatabaseUnavailableError(str(self), str(exc).strip()) from exc

    def after_commit(self, rows: list[Row], go: AfterCommit) -> None:
        """Call ``go`` by Django's ``on_commit``; outside ``atomic()`` at once."""
        if self.defers:
            transaction.on_commit(lambda: go_on(rows, go), using=self.alias)
        else:
            go(rows)

    def is_integrity_error(self, error: BaseException) -> bool:
        """Whether a write broke a unique index."""
        return isinstance(error, IntegrityError)

    def read_revision(self) -> str | None:
        """The schema's revision, None when there are no tables of ours."""
        with self._cursor() as cursor:
            if schema.VERSION_TABLE not in self._connection.introspection.table_names():
                return None
            cursor.execute(f"SELECT version_num FROM {schema.VERSION_TABLE}", {})  # noqa: S608 - ours
            rows = cursor.fetchall()
            return str(rows[0][0]) if rows else None

    def upgrade(self, migrate: Callable[[Any], None]) -> NoReturn:  # noqa: ARG002 - Django does
        """Say who makes the tables.

        Raises:
            SettingsError: Always.
        """
        raise SettingsError(
            _SETTING, f"is {self}, whose tables Django makes. Run: {self.upgrade_command}"
        )

    def check(self, home: Home) -> None:
        """Refuse to be joined if the jobs are in another database.

        Raises:
            OptionError: They are.
        """
        known = self._connection.settings_dict
        address = (str(home), *(str(known[name]) for name in ("NAME", "HOST", "PORT")))
        if address not in self._same:
            check_same(home, self, self.dialect_name, str(self))
            self._same.add(address)

    def rest(self, *, is_over: bool = False) -> None:
        """Close this thread's connection, as Django does after a request, or for good."""
        connection = self._connection
        if connection.in_atomic_block:
            return
        if is_over:
            connection.close()
        else:
            connection.close_if_unusable_or_obsolete()

    def dispose(self) -> None:
        """The connections are Django's."""

    def leave_to_parent(self) -> None:
        """After a fork: this thread's connection is the parent's."""
        connection = self._connection
        if self.dialect_name == "postgresql" and not connection.in_atomic_block:
            # psycopg leaves it alone in a process that has not made it.
            connection.connection = None


class _Cursor:
    """Django's cursor, with our errors."""

    def __init__(self, database: DjangoDatabase, cursor: Any) -> None:
        self._database = database
        self._cursor = cursor

    def execute(self, text: str, params: dict[str, Any]) -> None:
        with self._database.guarded():
            self._cursor.execute(text, params)

    def fetchall(self) -> list[Any]:
        with self._database.guarded():
            return list(self._cursor.fetchall())
