"""Settings: read from the app, checked at once, and an error that names what is wrong."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from contextlib import closing
from datetime import timedelta
from math import inf, nan
from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from celery_external import (
    DatabaseUnavailableError,
    ExternalTask,
    JobNotFoundError,
    SettingsError,
    get_external,
)
from celery_external.config import KNOWN, Settings
from celery_external.installation import installation_of
from tests.rows import Rows

SECRET = "s3cr3t"  # noqa: S105 - what must not be seen


def make_app(settings: Mapping[str, Any] | object = None, namespace: str | None = None) -> Celery:
    app = Celery("settings", broker="memory://", set_as_current=False)
    app.config_from_object(settings or {}, namespace=namespace)
    return app


def read(settings: Mapping[str, Any] | object, namespace: str | None = None) -> Settings:
    return installation_of(make_app(settings, namespace)).settings


def refusal(settings: Mapping[str, Any] | object, namespace: str | None = None) -> str:
    with pytest.raises(SettingsError) as caught:
        read(settings, namespace)
    return str(caught.value)


# --- What is read ---------------------------------------------------------------------------------

EVERYTHING: dict[str, Any] = {
    "database_url": "sqlite:///shop.db",
    "namespace": "shop",
    "resume_queue": "resumes",
    "sweep_queue": "sweeps",
    "sweep_interval": 5,
    "sweep_in_worker": True,
    "resume_grace": timedelta(minutes=2),
    "pending_grace": 0.5,
    "retention": timedelta(days=7),
    "purge_history": False,
    "secret_keys": ["x" * 32, "y" * 32],
    "base_url": "https://shop.example/external/",
}
#: What is kept otherwise than it was given.
CHECKED: dict[str, Any] = {
    "resume_grace": 120.0,
    "retention": 7 * 86400.0,
    "secret_keys": ("x" * 32, "y" * 32),
    "base_url": "https://shop.example/external",
}


def test_the_defaults() -> None:
    assert read({}) == Settings()


def test_every_setting_is_tried_here() -> None:
    assert tuple(f"external_{name}" for name in EVERYTHING) == KNOWN


@pytest.mark.parametrize("namespace", [None, "CELERY", "JOBS"])
def test_every_setting_is_read(namespace: str | None) -> None:
    given = {f"external_{name}": value for name, value in EVERYTHING.items()}
    if namespace:
        given = {f"{namespace}_{name}".upper(): value for name, value in given.items()}
    assert read(given, namespace) == Settings(**{**EVERYTHING, **CHECKED})


def test_none_is_the_default() -> None:
    # What may be kept for ever says so by None.
    assert read(dict.fromkeys(KNOWN)) == Settings(retention=None)


def test_a_setting_made_on_the_app_beats_the_module_of_settings() -> None:
    app = make_app({"CELERY_EXTERNAL_NAMESPACE": "of the module"}, "CELERY")
    app.conf.external_namespace = "of the app"
    assert installation_of(app).settings.namespace == "of the app"


class DjangoSettings:
    """As ``django.conf.settings``: Celery's names with a prefix among everybody else's."""

    SECRET_KEY = "x"  # noqa: S105 - nobody's
    EXTERNAL_API_KEY = "of the project's own"
    EXTERNAL_DATABASE_URLS = ("of the project's own",)
    CELERY_TASK_DEFAULT_QUEUE = "q"
    CELERY_EXTERNAL_DATABASE_URL = "sqlite:///django.db"
    CELERY_EXTERNAL_SWEEP_IN_WORKER = True


def test_django_settings_with_a_namespace() -> None:
    settings = read(DjangoSettings(), "CELERY")
    assert settings == Settings(database_url="sqlite:///django.db", sweep_in_worker=True)


# --- What is refused ------------------------------------------------------------------------------

NO_TEXTS: list[Any] = [5, "", b"bytes", ["list"], True]
NO_LENGTHS_OF_TIME: list[Any] = [0, -1, "10", True, nan, inf, 1e12, timedelta(0), [1]]
NO_BOOLS: list[Any] = [1, 0, "yes", "", []]
NO_KEYS = "must be a list of texts, of which the first signs"
SHORT_KEY = "each must be a text of at least 32 characters, such as secrets.token_urlsafe() gives"
NO_TEXT = "must be a text, not "
NO_SECONDS = "must be a positive number of seconds, not "


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        *(
            (name, value, f"{NO_TEXT}{value!r}")
            for name in ("namespace", "resume_queue", "sweep_queue")
            for value in NO_TEXTS
        ),
        *(
            (name, value, f"{NO_SECONDS}{value!r}")
            for name in ("sweep_interval", "resume_grace", "pending_grace")
            for value in NO_LENGTHS_OF_TIME
        ),
        ("sweep_interval", 10**400, f"{NO_SECONDS}{10**400!r}"),
        *(
            ("sweep_in_worker", value, f"must be True or False, not {value!r}")
            for value in NO_BOOLS
        ),
        *(("secret_keys", value, NO_KEYS) for value in ("x" * 32, b"y" * 32, 5, {"z" * 32})),
        *(("secret_keys", value, SHORT_KEY) for value in (["x" * 31], ["x" * 32, 5], [b"y" * 32])),
        *(
            ("base_url", value, f"must be an http or https URL without a query, not {value!r}")
            for value in (
                "shop.example",
                "ftp://shop.example",
                "https:///x",
                "https://x/?a=1",
                "https://x/#a",
                "//x",
            )
        ),
        ("namespace", "a\x00b", "must not contain NUL characters"),
        ("namespace", "a\ud800b", "must not contain lone surrogates"),
        ("database_url", "", "must be a text, not ''"),
        ("database_url", 5, "must be a text, not int"),
        ("database_url", b"sqlite:///x.db", "must be a text, not bytes"),
    ],
)
def test_a_value_that_cannot_be_used(name: str, value: object, problem: str) -> None:
    assert refusal({f"external_{name}": value}) == f"Setting external_{name}: {problem}"


NO_URL = "is not a database URL, such as postgresql+psycopg://host/db"
IN_MEMORY = "needs a file: a SQLite database in memory is not seen by other processes"


@pytest.mark.parametrize(
    ("url", "problem"),
    [
        ("jobs", NO_URL),
        ("postgres://h/db", NO_URL),
        ("postgresql://h:port/db", NO_URL),
        ("postgresql+psycopg2://h/db", "needs postgresql+psycopg://…, not the driver psycopg2"),
        ("postgresql+asyncpg://h/db", "needs postgresql+psycopg://…, not the driver asyncpg"),
        ("sqlite+aiosqlite:///x.db", "needs sqlite:///<path>, not the driver aiosqlite"),
        ("mysql://h/db", "must be postgresql+psycopg:// or sqlite:///, not mysql://"),
        ("sqlite://", IN_MEMORY),
        ("sqlite:///:memory:", IN_MEMORY),
        ("sqlite:///file::memory:?uri=true", IN_MEMORY),
        ("sqlite:///file:jobs?mode=memory&uri=true", IN_MEMORY),
    ],
)
def test_a_url_that_cannot_be_used(url: str, problem: str) -> None:
    assert refusal({"external_database_url": url}) == f"Setting external_database_url: {problem}"


def test_a_postgresql_url_needs_no_driver() -> None:
    database = installation_of(make_app({"external_database_url": "postgresql://h/db"}))
    assert database.database_name == "postgresql+psycopg://h/db"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("external_databse_url", "external_database_url"),
        ("extrenal_database_url", "external_database_url"),
        ("exernal_sweep_in_worker", "external_sweep_in_worker"),
        ("external_namspace", "external_namespace"),
        ("externalnamespace", "external_namespace"),
    ],
)
def test_a_misspelling(given: str, meant: str) -> None:
    assert refusal({given: "x"}) == (
        f"Setting {given}: there is no such setting; did you mean {meant}?"
    )


def test_a_name_that_nobody_reads() -> None:
    assert refusal({"external_quux": "x"}) == (
        f"Setting external_quux: there is no such setting. The settings are: {', '.join(KNOWN)}"
    )


@pytest.mark.parametrize("name", ["CELERY_EXTERNAL_DATABSE_URL", "CELERY_EXTRENAL_DATABASE_URL"])
def test_a_misspelling_among_djangos(name: str) -> None:
    message = refusal({name: "x"}, "CELERY")
    assert message.endswith("there is no such setting; did you mean external_database_url?")
    assert name.removeprefix("CELERY_").lower() in message.lower()


def test_settings_of_others_are_left_alone() -> None:
    given = {"task_queues": None, "externals": 1, "database_url": "x", "my_external_service": "y"}
    assert read(given) == Settings()


# --- When it is refused ---------------------------------------------------------------------------


def ask() -> None:
    """A trigger that nobody runs."""


def test_the_first_external_task_refuses_a_wrong_setting() -> None:
    app = make_app({"external_namespace": 5})
    app.task(base=ExternalTask, shared=False)(ask)
    with pytest.raises(SettingsError, match=r"^Setting external_namespace: "):
        app.finalize()


def test_get_external_refuses_a_wrong_setting() -> None:
    with pytest.raises(SettingsError, match=r"^Setting external_namespace: "):
        get_external(make_app({"external_namespace": 5}))


# --- Passwords ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql://user:{SECRET}",
        f"postgresql://user:{SECRET}@host:port/db",
        f"mysql://user:{SECRET}@host/db",
        f"postgresql+psycopg2://user:{SECRET}@host/db",
        f"postgresql+nothing://user:{SECRET}@host/db",
        f"nothing://user:{SECRET}@host/db",
        SECRET,
        SECRET.encode(),
    ],
    ids=repr,
)
def test_a_refused_url_is_not_repeated(url: object) -> None:
    with pytest.raises(SettingsError) as caught:
        read({"external_database_url": url})
    seen: BaseException | None = caught.value
    while seen is not None:
        assert SECRET not in repr(seen)
        seen = None if seen.__suppress_context__ else seen.__cause__ or seen.__context__


@pytest.mark.parametrize(
    "url",
    [
        f"postgresql+psycopg://user:{SECRET}@127.0.0.1:1/db",
        f"postgresql+psycopg://user@127.0.0.1:1/db?password={SECRET}&sslpassword={SECRET}",
    ],
)
def test_a_password_is_not_told(url: str, caplog: pytest.LogCaptureFixture) -> None:
    external = get_external(make_app({"external_database_url": url}))
    with (
        caplog.at_level(logging.DEBUG),
        pytest.raises(
            DatabaseUnavailableError, match=r"127\.0\.0\.1:1/db is not available"
        ) as caught,
    ):
        external.signal_succeeded("id")
    assert SECRET not in f"{caught.value!r} {caught.value} {external.database_name} {caplog.text}"


def test_a_password_is_not_told_where_the_database_is(
    postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    # The server trusts everybody; the password is sent nowhere, and shown nowhere.
    with (
        caplog.at_level(logging.DEBUG),
        closing(Rows(postgres_url.replace("@", f":{SECRET}@"))) as rows,
    ):
        with pytest.raises(JobNotFoundError) as caught:
            rows.external.get_job("unknown")
        rows.external.signal_succeeded(rows.parked())
    assert ":***@" in str(caught.value)
    assert "celery-external keeps its jobs in postgresql+psycopg://postgres:***@" in caplog.text
    assert SECRET not in f"{caught.value!r} {caught.value} {caplog.text}"


def test_a_file_is_told_by_its_absolute_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    external = get_external(make_app())
    assert external.database_name == f"sqlite:///{tmp_path}/celery-external.db"


def test_postgresql_without_its_driver_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    message = refusal({"external_database_url": "postgresql+psycopg://h/db"})
    assert message.startswith(
        "Setting external_database_url: needs psycopg with libpq: "
        "pip install celery-external[postgresql] ("
    )
