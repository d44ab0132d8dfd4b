"""Settings and per-task options: read, checked and frozen before anything else happens."""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from .errors import OptionError, SettingsError

PREFIX = "external_"
DEFAULT_DATABASE_URL = "sqlite:///celery-external.db"

MAX_LABELS = 32
MAX_LABEL_LENGTH = 255
MAX_REFERENCE_LENGTH = 255
MAX_JOB_ID_LENGTH = 255
#: Of an integer in JSON: no fewer than a float's, and no reader of JSON refuses them.
MAX_BITS = 1024
#: Of meta: how deep JSON may be nested.
MAX_DEPTH = 64


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
    """

    database_url: str = DEFAULT_DATABASE_URL
    namespace: str = "default"
    resume_queue: str | None = None
    sweep_queue: str | None = None
    sweep_interval: float = 10.0
    sweep_in_worker: bool = False
    resume_grace: float = 60.0
    pending_grace: float = 3600.0

    @property
    def lease(self) -> float:
        """Seconds for which a worker that hands an outcome on has it to itself."""
        return 5 * self.resume_grace


KNOWN = tuple(PREFIX + field.name for field in fields(Settings))


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
            if value is not None:
                given[name.removeprefix(PREFIX)] = value
        elif name.startswith(PREFIX):
            raise SettingsError(name, f"there is no such setting{_did_you_mean(name)}")
        else:
            _refuse_misspelling(key, name)
    return Settings(**given)


def _check_setting(name: str, value: Any) -> Any:
    if value is None:
        return None
    if name in {"external_sweep_interval", "external_resume_grace", "external_pending_grace"}:
        return _positive_setting(name, value)
    if name == "external_sweep_in_worker":
        if not isinstance(value, bool):
            raise SettingsError(name, f"must be True or False, not {value!r}")
    elif not (isinstance(value, str) and value):
        # What stands in for a URL may hold a password: it is not repeated.
        shown = type(value).__name__ if value and name.endswith("_url") else repr(value)
        raise SettingsError(name, f"must be a text, not {shown}")
    else:
        _check_setting_text(name, value)
    return value


def _check_setting_text(name: str, value: str) -> None:
    try:
        check_text(name, value)
    except OptionError as exc:
        raise SettingsError(name, exc.problem) from None


def _refuse_misspelling(key: str, name: str) -> None:
    # `extrenal_database_url` reads as a setting of ours to a person, and as nothing to Celery.
    close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.88)
    if close:
        raise SettingsError(key, f"there is no such setting; did you mean {close[0]}?")


def _did_you_mean(name: str) -> str:
    close = difflib.get_close_matches(name, KNOWN, n=1, cutoff=0.8)
    return f"; did you mean {close[0]}?" if close else f". The settings are: {', '.join(KNOWN)}"


def _positive_setting(name: str, value: object) -> float:
    seconds = _as_seconds(value)
    if seconds is None or not 0 < seconds <= MAX_SECONDS:
        raise SettingsError(name, f"must be a positive number of seconds, not {value!r}")
    return seconds


def _as_seconds(value: object) -> float | None:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    return None


# --- Options of a task and of one call ----------------------------------------------------------

#: An hour: a trigger starts work, it does not wait for it.
DEFAULT_TRIGGER_TIMEOUT = 3600.0
#: A hundred years; beyond it databases' calendars end, not people's patience.
MAX_SECONDS = 100 * 365 * 86400.0
MIN_YEAR, MAX_YEAR = 1000, 9000


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
            checked[name] = _check_seconds(name, value)
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


def _check_seconds(name: str, value: object) -> float | None:
    if value is None:
        return None
    seconds = _as_seconds(value)
    if seconds is None or not math.isfinite(seconds):
        raise OptionError(name, f"must be a number of seconds, not {value!r}")
    if not 0 < seconds <= MAX_SECONDS:
        raise OptionError(name, f"must be more than 0 and at most 100 years, not {value!r}")
    return seconds


def check_deadline(value: object) -> datetime | None:
    """An aware datetime (or its ISO text), or None."""
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value)
        except ValueError:
            raise OptionError("deadline", f"is no ISO 8601 time: {value!r}") from None
    if value is None:
        return None
    if not isinstance(value, datetime):
        raise OptionError("deadline", f"must be an aware datetime, not {value!r}")
    if value.tzinfo is None:
        raise OptionError("deadline", f"must be aware (have a time zone): {value!r}")
    if not MIN_YEAR <= value.year <= MAX_YEAR:
        raise OptionError("deadline", f"must be in the years {MIN_YEAR} to {MAX_YEAR}: {value!r}")
    return value.astimezone(UTC)


def check_timeout(value: object) -> float | None:
    """Positive seconds or None."""
    return _check_seconds("timeout", value)


def check_labels(value: object) -> tuple[str, ...]:
    """A tuple of different, non-empty texts."""
    if value is None:
        return ()
    if isinstance(value, str) or not isinstance(value, Iterable):
        raise OptionError("labels", f"must be a sequence of texts, not {value!r}")
    labels = tuple(value)
    if len(labels) > MAX_LABELS:
        raise OptionError("labels", f"there may be at most {MAX_LABELS}, not {len(labels)}")
    for label in labels:
        if not isinstance(label, str):
            raise OptionError("labels", f"each must be a text, not {label!r}")
        if not 0 < len(label) <= MAX_LABEL_LENGTH:
            raise OptionError("labels", f"each must have 1 to {MAX_LABEL_LENGTH} characters")
        check_text("labels", label)
    return tuple(dict.fromkeys(labels))


def check_meta(value: object) -> dict[str, Any]:
    """A mapping with text keys whose values JSON can carry exactly."""
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        raise OptionError("meta", f"must be a mapping, not {value!r}")
    checked: dict[str, Any] = check_json("meta", value)
    return checked


def check_meta_key(key: object) -> str:
    """A text that both databases can keep."""
    return _check_key("meta", key)


def check_json(name: str, value: Any, depth: int = 0) -> Any:
    """``value`` if it is JSON that every database keeps as it is; raises OptionError otherwise."""
    if depth > MAX_DEPTH:
        raise OptionError(name, f"is nested deeper than {MAX_DEPTH}")
    if isinstance(value, str):
        return check_text(name, value)
    if isinstance(value, float) and not math.isfinite(value):
        raise OptionError(name, f"{value!r} is not JSON")
    if isinstance(value, int) and value.bit_length() > MAX_BITS:
        raise OptionError(name, f"integers may have at most {MAX_BITS} bits")
    if value is None or isinstance(value, (bool, int, float)):
        return value
    if isinstance(value, (list, tuple)):
        return [check_json(name, item, depth + 1) for item in value]
    if isinstance(value, Mapping):
        return {
            _check_key(name, key): check_json(name, item, depth + 1) for key, item in value.items()
        }
    raise OptionError(name, f"{type(value).__name__} is not JSON: {value!r}")


def _check_key(name: str, key: object) -> str:
    if not isinstance(key, str):
        raise OptionError(name, f"keys must be texts, not {key!r}")
    return check_text(name, key)


def check_text(name: str, value: object) -> str:
    """A text without NUL characters and lone surrogates, which PostgreSQL cannot keep."""
    if not isinstance(value, str):
        raise OptionError(name, f"must be a text, not {value!r}")
    if "\x00" in value:
        raise OptionError(name, "must not contain NUL characters")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise OptionError(name, "must not contain lone surrogates") from None
    return value


def check_task_id(value: object) -> str:
    """A task id that can be a job's: a text of 1 to 255 characters, or a UUID."""
    text = check_text("task_id", str(value) if isinstance(value, UUID) else value)
    if not 0 < len(text) <= MAX_JOB_ID_LENGTH:
        raise OptionError("task_id", f"must have 1 to {MAX_JOB_ID_LENGTH} characters")
    return text


def check_reference(value: object) -> str:
    """The outside system's id: a text of 1 to 255 characters."""
    text = check_text("reference", value)
    if not 0 < len(text) <= MAX_REFERENCE_LENGTH:
        raise OptionError("reference", f"must have 1 to {MAX_REFERENCE_LENGTH} characters")
    return text
