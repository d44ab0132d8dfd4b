"""Settings and per-task options: read, checked and frozen before anything else happens."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from .checks import (
    MAX_SECONDS,
    as_seconds,
    check_deadline,
    check_labels,
    check_meta,
    check_seconds,
    check_secret_keys,
    check_text,
)
from .errors import OptionError, SettingsError

PREFIX = "external_"
DEFAULT_DATABASE_URL = "sqlite:///celery-external.db"


@dataclass(frozen=True, slots=True)
class Settings:
    """The ``external_*`` settings of an app (``CELERY_EXTERNAL_*`` with Django's namespace).

    Attributes:
        database_url: SQLAlchemy URL of the jobs' database, or ``django://`` and an alias of
            Django's. Default: a SQLite file ``celery-external.db`` in the working directory;
            with ``celery_external.contrib.django`` installed, ``django://default``.
        namespace: One app on one broker; two apps may share a database. Default ``default``.
        resume_queue: Queue for resumes. Default None: the queue the job came by.
        sweep_queue: Queue for the sweep. Default None: the app's default queue.
        sweep_interval: Seconds between two sweeps. Default 10.
        sweep_in_worker: Sweep in every worker, without beat. Default False.
        resume_grace: Seconds until an owed resume is sent for the second time; four times as
            long each time after. Default 60.
        pending_grace: Seconds past its eta until a job that no worker took is sent again.
            Default 3600.
        retention: Seconds, or a timedelta, for which a settled job is kept; then the sweep purges
            it. Default 30 days; None keeps it for ever.
        purge_history: Whether the history of a purged job goes with it. Default True.
        secret_keys: What signs tokens: texts of 32 characters at least, of which the first signs
            and any verifies. Rotate by putting a new one in front. Default: none, and no tokens.
        base_url: Where the webhook receiver is on the web, such as
            ``https://shop.example/external``; callback URLs begin with it.
    """

    database_url: str = DEFAULT_DATABASE_URL
    namespace: str = "default"
    resume_queue: str | None = None
    sweep_queue: str | None = None
    sweep_interval: float = 10.0
    sweep_in_worker: bool = False
    resume_grace: float = 60.0
    pending_grace: float = 3600.0
    retention: float | None = 30 * 86400.0
    purge_history: bool = True
    secret_keys: tuple[str, ...] = field(default=(), repr=False)
    base_url: str | None = None

    @property
    def lease(self) -> float:
        """Seconds for which a worker that hands an outcome on has it to itself."""
        return 5 * self.resume_grace


KNOWN = tuple(PREFIX + field.name for field in fields(Settings))
_SECONDS = {
    f"{PREFIX}{name}" for name in ("sweep_interval", "resume_grace", "pending_grace", "retention")
}


def read_settings(
    conf: Mapping[str, Any],
    namespace: str | None = None,
    *,
    default_url: str = DEFAULT_DATABASE_URL,
) -> Settings:
    """Check and freeze the ``external_*`` settings of ``conf``.

    With a ``namespace``, such as ``CELERY`` in Django's settings, what is written in capitals
    without it belongs to somebody else. ``default_url`` is where the jobs are unless it says.

    Raises:
        SettingsError: naming the setting; also for a name that nobody reads.
    """
    given: dict[str, Any] = {"database_url": default_url}
    prefix = f"{(namespace or 'CELERY').rstrip('_')}_"
    for key in conf:
        if namespace and not key.startswith(prefix) and not key.islower():
            continue
        name = key.removeprefix(prefix).lower()
        if name in KNOWN:
            value = _check_setting(name, conf[key])
            if value is not None or name == "external_retention":
                given[name.removeprefix(PREFIX)] = value
        elif name.startswith(PREFIX):
            raise SettingsError(name, f"there is no such setting{_did_you_mean(name)}")
        else:
            _refuse_misspelling(key, name)
    return Settings(**given)


def _check_setting(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in _SECONDS:
        return _positive_setting(name, value)
    if name == "external_secret_keys":
        return _check_secret_keys(name, value)
    if name in {"external_sweep_in_worker", "external_purge_history"}:
        if not isinstance(value, bool):
            raise SettingsError(name, f"must be True or False, not {value!r}")
    elif not (isinstance(value, str) and value):
        # What stands in for a URL may hold a password: it is not repeated.
        shown = type(value).__name__ if value and name.endswith("_url") else repr(value)
        raise SettingsError(name, f"must be a text, not {shown}")
    else:
        _check_setting_text(name, value)
    return _check_base_url(name, value) if name == "external_base_url" else value


def _check_secret_keys(name: str, value: Any) -> tuple[str, ...]:
    try:
        return check_secret_keys(name, value)
    except OptionError as exc:
        raise SettingsError(name, exc.problem) from None


def _check_base_url(name: str, value: str) -> str:
    parts = urlsplit(value)
    if parts.scheme not in {"http", "https"} or not parts.netloc or parts.query or parts.fragment:
        raise SettingsError(name, f"must be an http or https URL without a query, not {value!r}")
    return value.rstrip("/")


def _check_setting_text(name: str, value: str) -> None:
    try:
        check_text(name, value)
    except OptionError as exc:
        raise SettingsError(name, exc.problem) from None


def _find_close(name: str, cutoff: float) -> list[str]:
    import difflib  # noqa: PLC0415 - for a mistake that few make

    return difflib.get_close_matches(name, KNOWN, n=1, cutoff=cutoff)


def _refuse_misspelling(key: str, name: str) -> None:
    # `extrenal_database_url` reads as a setting of ours to a person, and as nothing to Celery.
    close = _find_close(name, 0.88)
    if close:
        raise SettingsError(key, f"there is no such setting; did you mean {close[0]}?")


def _did_you_mean(name: str) -> str:
    close = _find_close(name, 0.8)
    return f"; did you mean {close[0]}?" if close else f". The settings are: {', '.join(KNOWN)}"


def _positive_setting(name: str, value: object) -> float:
    seconds = as_seconds(value)
    if seconds is None or not 0 < seconds <= MAX_SECONDS:
        raise SettingsError(name, f"must be a positive number of seconds, not {value!r}")
    return seconds


# --- Options of a task and of one call ----------------------------------------------------------

#: An hour: a trigger starts work, it does not wait for it.
DEFAULT_TRIGGER_TIMEOUT = 3600.0


@dataclass(frozen=True, slots=True)
class Options:
    """What one job was started with; the task's class attributes, then the call's own.

    Attributes:
        timeout: Seconds from the park until the job times out; None: it waits for ever.
        deadline: When the job times out whatever its state; aware.
        heartbeat_timeout: Seconds without a progress signal until a parked job times out.
        trigger_timeout: Seconds after which a trigger that is still running counts as lost.
        labels: The task's labels and the call's, in that order, each once.
        meta: What to show and search.
    """

    timeout: float | None = None
    deadline: datetime | None = None
    heartbeat_timeout: float | None = None
    trigger_timeout: float = DEFAULT_TRIGGER_TIMEOUT
    labels: tuple[str, ...] = ()
    meta: Mapping[str, Any] | None = None


#: The names that ``apply_async`` and ``.set`` take for an external task.
CALL_OPTIONS = tuple(field.name for field in fields(Options))


def check_options(given: Mapping[str, Any]) -> dict[str, Any]:
    """The options of one call or class, checked and brought to plain JSON values.

    Raises:
        OptionError: naming the option.
    """
    checked: dict[str, Any] = {}
    for name, value in given.items():
        if name in {"timeout", "heartbeat_timeout", "trigger_timeout"}:
            checked[name] = check_seconds(name, value)
        elif name == "deadline":
            deadline = check_deadline(value)
            checked[name] = deadline.isoformat() if deadline else None
        elif name == "labels":
            checked[name] = list(check_labels(value))
        elif name == "meta":
            checked[name] = check_meta(value)
        else:
            raise OptionError(name, f"there is no such option; there are {', '.join(CALL_OPTIONS)}")
    return checked


def resolve_options(of_task: Mapping[str, Any], of_call: Mapping[str, Any]) -> Options:
    """Join the checked options of a task and of a call: the call's win, labels and meta add up."""
    joined = {**of_task, **of_call}
    labels = dict.fromkeys([*(of_task.get("labels") or ()), *(of_call.get("labels") or ())])
    deadline = joined.get("deadline")
    trigger_timeout = joined.get("trigger_timeout")
    return Options(
        timeout=joined.get("timeout"),
        deadline=datetime.fromisoformat(deadline).astimezone(UTC) if deadline else None,
        heartbeat_timeout=joined.get("heartbeat_timeout"),
        trigger_timeout=trigger_timeout or DEFAULT_TRIGGER_TIMEOUT,
        labels=tuple(labels),
        meta={**(of_task.get("meta") or {}), **(of_call.get("meta") or {})},
    )


# --- Polls, which are the class's only ------------------------------------------------------------

POLL_OPTIONS = ("poll_interval", "poll_backoff", "poll_interval_max")
#: Seconds, for an interval that grows.
DEFAULT_POLL_INTERVAL_MAX = 3600.0
#: Nobody means more, and databases' numbers end.
MAX_POLL_BACKOFF = 1000.0


@dataclass(frozen=True, slots=True)
class Polling:
    """How often a task is asked for its parked jobs.

    Attributes:
        interval: Seconds from the park to a job's first poll.
        backoff: Factor by which the interval grows with each poll.
        longest: Seconds beyond which it does not grow.
    """

    interval: float
    backoff: float
    longest: float


def check_polling(interval: object, backoff: object, longest: object) -> Polling | None:
    """The poll options of a class; None: its jobs are not polled.

    Raises:
        OptionError: naming the option.
    """
    seconds = check_seconds("poll_interval", interval)
    limit = check_seconds("poll_interval_max", longest)
    factor = as_seconds(backoff) if not isinstance(backoff, timedelta) else None
    if factor is None or not 1 <= factor <= MAX_POLL_BACKOFF:
        raise OptionError(
            "poll_backoff", f"must be a number from 1 to {MAX_POLL_BACKOFF:g}, not {backoff!r}"
        )
    if seconds is None:
        return None
    if limit is not None and limit < seconds:
        raise OptionError(
            "poll_interval_max", f"must not be less than poll_interval, {seconds:g}: {longest!r}"
        )
    return Polling(seconds, factor, limit or max(DEFAULT_POLL_INTERVAL_MAX, seconds))
