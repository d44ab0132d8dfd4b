"""Which database URLs can be used, and SQLAlchemy's dialects without a URL."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

import sqlalchemy as sa

from celery_external.errors import SettingsError


def check_url(url: str) -> sa.URL:
    """The URL parsed, its driver filled in.

    Raises:
        SettingsError: It cannot be used.
    """
    name = "external_database_url"
    try:
        parsed = sa.make_url(url)
        backend, driver = parsed.get_backend_name(), parsed.get_driver_name()
    except (sa.exc.ArgumentError, ValueError):
        # The text may hold a password: it is not repeated.
        raise SettingsError(
            name, "is not a database URL, such as postgresql+psycopg://host/db"
        ) from None
    except sa.exc.NoSuchModuleError as exc:
        raise SettingsError(name, str(exc)) from None
    if backend == "postgresql":
        if "+" not in parsed.drivername:
            parsed = parsed.set(drivername="postgresql+psycopg")
        elif driver != "psycopg":
            raise SettingsError(name, f"needs postgresql+psycopg://…, not the driver {driver}")
        try:
            import psycopg  # noqa: F401, PLC0415 - only a PostgreSQL URL needs it
        except ImportError as exc:
            raise SettingsError(
                name, f"needs psycopg with libpq: pip install celery-external[postgresql] ({exc})"
            ) from exc
        return parsed
    if backend == "sqlite":
        if driver != "pysqlite":
            raise SettingsError(name, f"needs sqlite:///<path>, not the driver {driver}")
        where = parsed.database or ":memory:"
        if ":memory:" in where or parsed.query.get("mode") == "memory":
            raise SettingsError(
                name, "needs a file: a SQLite database in memory is not seen by other processes"
            )
        return parsed
    raise SettingsError(name, f"must be postgresql+psycopg:// or sqlite:///, not {backend}://")


class Address(NamedTuple):
    """Where a database is, as far as that can be told without asking it."""

    backend: str
    host: str
    port: str
    #: Of SQLite, its file's absolute path.
    name: str


def address_of(url: str) -> Address:
    """Where a URL leads.

    Raises:
        SettingsError: It cannot be used.
    """
    parsed = check_url(url)
    backend, name = parsed.get_backend_name(), parsed.database or ""
    if backend == "sqlite":
        return Address(backend, "", "", str(Path(name).absolute()))
    host = parsed.host or str(parsed.query.get("host", ""))
    port = parsed.port or parsed.query.get("port", 5432)
    return Address(backend, host, str(port), name)


_DRIVERS = {"postgresql": "postgresql+psycopg://", "sqlite": "sqlite://"}


@cache
def dialect_for(name: str) -> sa.Dialect:
    """For statements on a cursor that is not SQLAlchemy's and takes parameters as psycopg does."""
    return sa.create_engine(_DRIVERS[name], paramstyle="pyformat").dialect
