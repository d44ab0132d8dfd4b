"""An app in memory for the time of a test: broker, results, and jobs that no other test sees."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from kombu.transport.memory import Channel

from celery_external.installation import installation_of

from .draining import as_current
from .kit import Kit

if TYPE_CHECKING:
    from celery import Celery

#: What Celery prefers to the app's settings.
_ENVIRONMENT = (
    "CELERY_BROKER_URL",
    "CELERY_BROKER_READ_URL",
    "CELERY_BROKER_WRITE_URL",
    "CELERY_RESULT_BACKEND",
)


@contextmanager
def in_memory(app: Celery, **settings: Any) -> Iterator[Kit]:
    """Have an app work in memory for a while: a ``with`` block that gives its :class:`Kit`.

    The broker is ``memory://`` with empty queues, results are kept by ``cache+memory://``, jobs in
    a SQLite file of their own that is removed at the end, nothing is eager, and the app is the
    current one of this thread. Afterwards all is as it was before.

    With Django's database (``django://``) the jobs stay in it, for your test case to begin and
    end; they are in a namespace of their own, so that jobs that an earlier test has left do not
    count. The same holds for an ``external_database_url`` that you give.

    Arguments:
        app: The app. Nobody else may work with it in the meantime.
        **settings: More of its settings, or others than these, such as ``result_backend=`` or
            ``external_database_url="postgresql+psycopg://…"``.

    Raises:
        SettingsError: A setting cannot be used.
    """
    with ExitStack() as undo:
        undo.enter_context(_without_environment())
        undo.enter_context(_empty_queues())
        chosen = {
            "broker_url": "memory://",
            "broker_read_url": None,
            "broker_write_url": None,
            "broker_transport": None,
            "result_backend": "cache+memory://",
            "task_always_eager": False,
            "external_namespace": f"test-{uuid4()}",
            **settings,
        }
        if "external_database_url" not in chosen and not _is_djangos(app):
            # It may be open still where somebody has kept a connection.
            directory = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
            path = Path(undo.enter_context(directory)) / "jobs.sqlite3"
            chosen["external_database_url"] = f"sqlite:///{path}"
        undo.enter_context(_configured(app, chosen))
        undo.enter_context(as_current(app))
        yield Kit(app)


def _is_djangos(app: Celery) -> bool:
    return installation_of(app).settings.database_url.startswith("django:")


@contextmanager
def _without_environment() -> Iterator[None]:
    found = {name: os.environ.pop(name) for name in _ENVIRONMENT if name in os.environ}
    try:
        yield
    finally:
        os.environ.update(found)


@contextmanager
def _empty_queues() -> Iterator[None]:
    # All connections to memory:// in this process have these.
    found = dict(Channel.queues)
    Channel.queues.clear()
    try:
        yield
    finally:
        Channel.queues.clear()
        Channel.queues.update(found)


@contextmanager
def _configured(app: Any, settings: dict[str, Any]) -> Iterator[None]:
    app.conf.finalize()
    before = dict(app.conf.changes)
    kept = _let_go(app)
    app.conf.update(settings)
    try:
        installation_of(app).reload()
        yield
    finally:
        app.conf.changes.clear()
        app.conf.update(before)
        _let_go(app)
        app._pool, app.amqp._producer_pool, app._backend_cache, backend = kept  # noqa: SLF001
        if backend is not None:
            app._local.backend = backend  # noqa: SLF001
        installation_of(app).reload()


def _let_go(app: Any) -> tuple[Any, ...]:
    """Have the app make anew what it keeps of its settings; returns what it had."""
    # Celery has no public way to do so.
    kept = (
        app._pool,  # noqa: SLF001
        app.amqp._producer_pool,  # noqa: SLF001
        app._backend_cache,  # noqa: SLF001
        app._local.__dict__.pop("backend", None),  # noqa: SLF001
    )
    app._pool = app.amqp._producer_pool = app._backend_cache = None  # noqa: SLF001
    return kept
