"""celery-external as installed on one Celery app: its settings and its database."""

from __future__ import annotations

import importlib
import logging
import sys
import threading
import time
import weakref
from functools import cached_property
from typing import TYPE_CHECKING, Any, cast

from celery import _state

from . import migrations, schema
from .config import DEFAULT_DATABASE_URL, Settings, read_settings
from .errors import OptionError, SchemaError, SettingsError
from .store.database import Database
from .store.joined import join
from .store.place import Home, Place

if TYPE_CHECKING:
    from celery import Celery

logger = logging.getLogger("celery_external")


class Installation:
    """What every part needs of an app. Made by :func:`installation_of`.

    Raises:
        SettingsError: An ``external_*`` setting cannot be used.
    """

    def __init__(self, app: Celery) -> None:
        self._app = weakref.ref(app)
        self._lock = threading.Lock()
        # Said at the start, kept from the first use on: until then an app may be configured.
        _home_of(self._read_settings().database_url)

    @property
    def app(self) -> Celery:
        """The Celery app."""
        app = self._app()
        assert app is not None  # noqa: S101 - the app owns the installation
        return app

    @cached_property
    def settings(self) -> Settings:
        """The settings, as they were when something first needed them."""
        return self._read_settings()

    def _read_settings(self) -> Settings:
        namespace = self.app.namespace  # type: ignore[attr-defined]  # celery-types lacks it
        return read_settings(self.app.conf, namespace, default_url=_default_url())

    @cached_property
    def _unchecked(self) -> Home:
        database = _home_of(self.settings.database_url)
        # Where the app goes, at the process's end at the latest, its connections are closed.
        self._close = weakref.finalize(self.app, database.dispose)
        return database

    def reload(self) -> None:
        """The app is configured anew, for a test: what is kept of its settings is let go."""
        if "_unchecked" in self.__dict__:
            self._close()
        for name in ("settings", "_unchecked", "database"):
            self.__dict__.pop(name, None)

    @property
    def namespace(self) -> str:
        """Which of the database's jobs are this app's."""
        return self.settings.namespace

    @cached_property
    def database(self) -> Home:
        """The database, with its schema checked (SQLite's file: made) once a process.

        Raises:
            SchemaError: The tables are missing or of another version.
            DatabaseUnavailableError: It cannot be asked.
        """
        with self._lock:
            problem = self.find_schema_problem()
            if problem is not None and self._unchecked.makes_itself:
                self.upgrade()
            elif problem is not None:
                raise problem
        logger.info("celery-external keeps its jobs in %s", self._unchecked)
        return self._unchecked

    def place(self, using: Any = None) -> Place:
        """Where statements run: the jobs' database, or the transaction that ``using`` names.

        Raises:
            OptionError: ``using`` is no transaction that can be joined.
        """
        if using is None:
            return self.database
        if isinstance(using, Place):
            return using
        if isinstance(using, str):
            try:
                joined: Place = _django().join(self.database, using)
            except ModuleNotFoundError as exc:
                raise OptionError("using", f"is a text, an alias of Django's: {exc}") from exc
            return joined
        return join(self.database, using)

    def rest(self, *, is_over: bool = False) -> None:
        """A thread of ours pauses, or ends: it holds no connection that others need."""
        self._unchecked.rest(is_over=is_over)

    def read_revision(self) -> str | None:
        """The schema revision that the database has; None without our tables."""
        with self._unchecked.guarded():
            return self._unchecked.read_revision()

    def upgrade(self) -> None:
        """Bring the tables up to date; safe to run at any time, by several at once.

        Raises:
            SchemaError: They are from a newer version of the package.
        """
        found = self.read_revision()
        if found is not None and not migrations.is_known(found):
            raise self._schema_error(found)
        if found != schema.REVISION:
            self._unchecked.upgrade(migrations.upgrade)

    def find_schema_problem(self) -> SchemaError | None:
        """What is wrong with the tables' revision; None: nothing."""
        found = self.read_revision()
        return None if found == schema.REVISION else self._schema_error(found)

    @property
    def makes_itself(self) -> bool:
        """Whether the first use brings the tables up to date."""
        return self._unchecked.makes_itself

    def _schema_error(self, found: str | None) -> SchemaError:
        home = self._unchecked
        return SchemaError(str(home), found, schema.REVISION, home.upgrade_command)

    @property
    def database_name(self) -> str:
        """The database for people: no password, a file by its absolute path."""
        return str(self._unchecked)


class Pace:
    """Something is done at most once in so many seconds, in this process and for each app."""

    def __init__(self) -> None:
        self._done_at: weakref.WeakKeyDictionary[Installation, float] = weakref.WeakKeyDictionary()

    def is_time(self, installation: Installation, interval: float) -> bool:
        """Whether it is time to do it; then it counts as done."""
        now, last = time.monotonic(), self._done_at.get(installation)
        if last is not None and now - last < interval:
            return False
        self._done_at[installation] = now
        return True

    def forget(self, installation: Installation) -> None:
        """It did not come about: any time will do."""
        self._done_at.pop(installation, None)


# --- Django is imported by those who use it -------------------------------------------------------


def _django() -> Any:
    return importlib.import_module("celery_external.contrib.django.database")


def _home_of(url: str) -> Home:
    """The database that a URL names.

    Raises:
        SettingsError: It cannot be used.
    """
    if not url.startswith("django:"):
        return Database(url)
    try:
        home: Home = _django().home_of(url)
    except ModuleNotFoundError as exc:
        raise SettingsError("external_database_url", f"needs Django: {exc}") from exc
    return home


def _default_url() -> str:
    if "django.conf" not in sys.modules:
        return DEFAULT_DATABASE_URL
    return _django().default_url() or DEFAULT_DATABASE_URL


# --- Each app's own -------------------------------------------------------------------------------

_installations: weakref.WeakKeyDictionary[Celery, Installation] = weakref.WeakKeyDictionary()
_lock = threading.Lock()


def installation_of(app: Celery | None = None) -> Installation:
    """The installation on ``app`` (default: Celery's current app), made on first use.

    Raises:
        SettingsError: An ``external_*`` setting cannot be used.
        OptionError: Without ``app``, where no app is current in this thread.
    """
    if app is None:
        app = _find_current_app()
    # A proxy (celery.current_app) is looked through: the app itself is the key.
    key: Celery = getattr(app, "_get_current_object", lambda: app)()
    with _lock:
        found = _installations.get(key)
        if found is None:
            found = _installations[key] = Installation(key)
        return found


def _find_current_app() -> Celery:
    """Celery's current app, unless that is the one it makes up in a thread that has none.

    An app is current in the thread that made it. In the others Celery gives an app of its own,
    with default settings: a signal there would go to a database that nobody meant.
    """
    app: Celery = _state.get_current_app()
    if app.main != "default" or app in _installations:
        return app
    # There is no public list of the apps that a process has.
    active = _state._get_active_apps()  # type: ignore[attr-defined]  # noqa: SLF001
    others = [other for other in active if other is not app]
    if not others:
        return app
    installed = [other for other in others if other in _installations]
    if len(installed) != 1:
        raise OptionError(
            "app", "no Celery app is current in this thread: pass app=, or call app.set_default()"
        )
    return cast("Celery", installed[0])


def is_installed_on(app: Celery) -> bool:
    """Whether anything of this app has used the package."""
    return app in _installations
