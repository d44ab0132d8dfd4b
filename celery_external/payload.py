"""Results and failures: serialized as the app serializes results, and back."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from celery.exceptions import TaskPredicate
from kombu.exceptions import EncodeError
from kombu.serialization import dumps, loads, prepare_accept_content

from . import states
from .checks import check_text
from .errors import (
    DatabaseUnavailableError,
    ExternalJobFailed,
    OptionError,
    UnserializableError,
)
from .job import Failed, Succeeded

if TYPE_CHECKING:
    from celery import Celery

    from .store.database import Row

logger = logging.getLogger("celery_external")

#: Of a result in JSON: every reader gets that far, whatever it was called by.
MAX_DEPTH = 256
#: The keys by which kombu marks what is no JSON; a mapping that has them would be taken for it.
_MARKS = {"__type__", "__value__"}
#: Exceptions that say something else to a worker than that the job failed.
_NO_FAILURES = (TaskPredicate, DatabaseUnavailableError)


def dump(app: Celery, value: Any, what: str, serializer: str | None = None) -> tuple[bytes, str]:
    """Serialize as the app serializes results; returns the bytes and their type.

    Who has many to dump looks ``serializer``, the name in the app's settings, up once.

    Raises:
        UnserializableError: The serializer refuses the value.
    """
    pydantic = sys.modules.get("pydantic")
    if pydantic is not None and isinstance(value, pydantic.BaseModel):
        value = value.model_dump(mode="json")
    serializer = serializer or app.conf.result_serializer
    dumped = serialize(value, serializer, what)
    if serializer == "json":
        _refuse_what_json_changes(value, what)
    return dumped


def _refuse_what_json_changes(value: Any, what: str) -> None:
    """What JSON takes, and gives back as something else, or not to every reader."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for part in level:
            if isinstance(part, dict):
                _check_keys(part, what)
                inner += part.values()
            elif isinstance(part, (list, tuple)):
                inner += part
        level = inner
        if not level:
            return
    raise UnserializableError(what, "json", f"it is nested deeper than {MAX_DEPTH}")


def _check_keys(mapping: Mapping[Any, Any], what: str) -> None:
    for key in mapping:
        if not isinstance(key, str):
            raise UnserializableError(what, "json", f"keys must be texts, not {key!r}")
    if mapping.keys() == _MARKS:
        raise UnserializableError(what, "json", "__type__ and __value__ are kombu's keys")


def serialize(value: Any, serializer: str, what: str) -> tuple[bytes, str]:
    """Serialize with a named serializer; returns the bytes and their type.

    Raises:
        UnserializableError: The serializer refuses the value.
    """
    try:
        content_type, encoding, dumped = dumps(value, serializer)
    except (EncodeError, TypeError, ValueError, RecursionError) as exc:
        raise UnserializableError(what, serializer, str(exc)) from exc
    data: bytes | str = dumped
    return data.encode(encoding) if isinstance(data, str) else data, f"{content_type};{encoding}"


def load(app: Celery, data: bytes | None, type_: str | None) -> Any:
    """The value that :func:`dump` serialized.

    Raises:
        ContentDisallowed: This app does not accept the serializer.
        DecodeError: The data does not fit it.
    """
    if data is None or type_ is None:
        return None
    content_type, _, encoding = type_.partition(";")
    accept = [*app.conf.accept_content, *(app.conf.result_accept_content or ())]
    return loads(data, content_type, encoding, accept=prepare_accept_content(accept))


def encode_outcome(
    app: Celery,
    outcome: Succeeded | Failed,
    note: str | None = None,
    serializer: str | None = None,
) -> Row:
    """The columns that an outcome is kept in; ``note`` is a person's reason.

    ``serializer``: as in :func:`dump`.

    Raises:
        UnserializableError: The serializer refuses the result.
        OptionError: The reason is no text that both databases keep.
    """
    if isinstance(outcome, Succeeded):
        data, type_ = dump(app, outcome.result, "result", serializer)
        return outcome_columns(states.SUCCEEDED, reason=note, outcome=data, outcome_type=type_)
    if not isinstance(outcome, Failed):
        raise OptionError("outcome", f"must be Succeeded(...) or Failed(...), not {outcome!r}")
    if isinstance(outcome.reason, BaseException):
        return encode_exception(app, outcome.reason)
    return outcome_columns(states.FAILED, reason=check_text("reason", outcome.reason))


def encode_exception(app: Celery, exc: BaseException) -> Row:
    """The columns of a failure that is an exception.

    Where the serializer cannot carry it, ExternalJobFailed will stand for it.
    """
    if type(exc) is ExternalJobFailed:
        return outcome_columns(states.FAILED, reason=as_text(exc.reason))
    reason = f"{type(exc).__name__}: {as_text(exc)}"
    if not isinstance(exc, Exception) or isinstance(exc, _NO_FAILURES):
        return outcome_columns(states.FAILED, reason=reason)
    try:
        str(exc)
        prepared = app.backend.prepare_exception(exc, app.conf.result_serializer)
        data, type_ = serialize(prepared, app.conf.result_serializer, "exception")
        carried = app.backend.exception_to_python(load(app, data, type_))
    except Exception:  # noqa: BLE001 - whatever an exception's own code raises when it is rebuilt
        logger.info("%s cannot be serialized; ExternalJobFailed stands for it", reason)
        return outcome_columns(states.FAILED, reason=reason)
    if type(carried) is not type(exc):
        return outcome_columns(states.FAILED, reason=reason)
    return outcome_columns(states.FAILED, reason=reason, outcome=data, outcome_type=type_)


def outcome_columns(
    kind: str,
    reason: str | None,
    *,
    outcome: bytes | None = None,
    outcome_type: str | None = None,
) -> Row:
    """The columns of an outcome, its state with them."""
    return {
        "kind": kind,
        "state": states.STATE_OF_OUTCOME[kind],
        "reason": reason,
        "outcome": outcome,
        "outcome_type": outcome_type,
    }


def decode_outcome(app: Celery, kept: Row) -> Succeeded | Failed:
    """The outcome that :func:`encode_outcome` made columns of."""
    if kept["kind"] == states.SUCCEEDED:
        return Succeeded(load(app, kept["outcome"], kept["outcome_type"]))
    if kept["outcome"] is None:
        return Failed(kept["reason"] or "")
    return Failed(decode_exception(app, kept))


def decode_exception(app: Celery, row: Row) -> BaseException:
    """What a failed job raises."""
    payload = load(app, row["outcome"], row["outcome_type"])
    if payload is not None:
        exc = app.backend.exception_to_python(payload)
        # Celery makes up a class where it finds none: nobody could catch that by name.
        is_known = type(exc).__module__ != "celery.backends.base"
        if isinstance(exc, Exception) and not isinstance(exc, _NO_FAILURES) and is_known:
            return exc
    return ExternalJobFailed(row["reason"] or "")


def as_text(value: object) -> str:
    """A text that every database keeps, whatever it was made of."""
    try:
        text = str(value)
    except Exception:  # noqa: BLE001 - whatever an exception's own code raises
        text = f"<{type(value).__name__} without words>"
    return text.replace("\x00", "\\x00").encode("utf-8", "backslashreplace").decode()
