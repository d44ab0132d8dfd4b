"""Options of a task and of one call: what is kept, and an error before anything is written."""

from __future__ import annotations

import enum
from collections import UserDict
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from math import inf, nan
from typing import Any

import pytest
from celery import Celery, chain, chord, group

from celery_external import ExternalTask, OptionError
from celery_external.checks import check_json
from celery_external.config import CALL_OPTIONS, check_options
from celery_external.message import OPTIONS_HEADER
from tests.rows import In, Rows

YEAR = 365 * 86400.0
SOON = datetime(2999, 1, 1, 12, 0, tzinfo=UTC)


@pytest.fixture
def one_database(sqlite_url: str) -> Iterator[Rows]:
    """For what never reaches a database."""
    with closing(Rows(sqlite_url, result_backend="cache+memory://")) as made:
        yield made


def ask(*_args: Any) -> None:
    """A trigger that nobody runs."""


def define(app: Celery, **options: Any) -> Any:
    """An external task with options of its own."""
    make: Any = app.task(base=ExternalTask, name="options.ask", shared=False, lazy=False, **options)
    return make(ask)


def name_value(value: object) -> str:
    """For a test's id, the same in every process: an address is not."""
    return repr(value).partition(" object at ")[0][:30]


# --- What is kept ---------------------------------------------------------------------------------


def test_a_calls_options_are_in_its_row(rows: Rows) -> None:
    result = rows.task.apply_async(
        labels=["b", "a", "b"],
        meta={"n": {"deep": [1, 2.5, None, True, "\N{SNOWMAN}"]}},
        deadline=SOON.astimezone(timezone(timedelta(hours=-5))),
        heartbeat_timeout=timedelta(minutes=1),
        timeout=5,
        trigger_timeout=9,
    )
    job = rows.external.get_job(result)
    assert job.labels == ("b", "a")
    assert job.meta == {"n": {"deep": [1, 2.5, None, True, "\N{SNOWMAN}"]}}
    assert job.deadline == SOON
    assert rows.get(result.id)["heartbeat_timeout"] == 60


def test_the_options_of_task_and_call_are_joined(rows: Rows) -> None:
    task = define(
        rows.app, labels=("task", "both"), meta={"a": 1, "b": 1}, timeout=7, heartbeat_timeout=8
    )
    request = task.s().set(
        labels=["both", "call"], meta={"b": 2}, timeout=None, deadline=SOON.isoformat()
    )
    row = rows.get(request.apply_async().id)
    assert (row["labels"], row["meta"]) == (["task", "both", "call"], {"a": 1, "b": 2})
    assert (row["heartbeat_timeout"], row["deadline"]) == (8, SOON)


def test_a_calls_options_travel_in_one_header(rows: Rows) -> None:
    rows.task.apply_async(
        labels=("x",), timeout=timedelta(seconds=3), deadline=SOON, headers={"mine": 1}
    )
    with rows.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        headers = channel.basic_get(rows.queue).headers
    assert headers["mine"] == 1
    assert headers[OPTIONS_HEADER] == {
        "labels": ["x"],
        "timeout": 3.0,
        "deadline": "2999-01-01T12:00:00+00:00",
    }


def test_every_call_option_is_tried_here() -> None:
    given = {"timeout", "deadline", "heartbeat_timeout", "trigger_timeout", "labels", "meta"}
    assert given == set(CALL_OPTIONS)


class Colour(enum.StrEnum):
    RED = "red"


@pytest.mark.parametrize(
    ("name", "value", "kept"),
    [
        ("timeout", 1, 1.0),
        ("timeout", 0.001, 0.001),
        ("timeout", timedelta(days=1), 86400.0),
        ("timeout", 100 * YEAR, 100 * YEAR),
        ("timeout", None, None),
        ("heartbeat_timeout", None, None),
        ("deadline", None, None),
        ("deadline", "2999-01-01T13:00:00+01:00", "2999-01-01T12:00:00+00:00"),
        ("deadline", "2999-01-01T12:00:00Z", "2999-01-01T12:00:00+00:00"),
        ("labels", None, []),
        ("labels", (), []),
        ("labels", iter(["a"]), ["a"]),
        ("labels", ["x" * 255], ["x" * 255]),
        ("labels", [str(n) for n in range(32)], [str(n) for n in range(32)]),
        ("meta", None, {}),
        ("meta", UserDict({"a": (1, 2)}), {"a": [1, 2]}),
        ("meta", {"a": Colour.RED}, {"a": "red"}),
        ("meta", {"big": 2**1023, "small": -0.0}, {"big": 2**1023, "small": 0.0}),
    ],
    ids=name_value,
)
def test_a_value_that_can_be_used(name: str, value: object, kept: object) -> None:
    assert check_options({name: value}) == {name: kept}


# --- What is refused ------------------------------------------------------------------------------


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


NO_NUMBERS: list[Any] = ["5", True, b"5", [5], nan, inf, 10**400, SOON]
NO_TIMEOUTS: list[Any] = [0, -1, -0.5, timedelta(0), timedelta(-1), 101 * YEAR]
NAIVE = datetime(2999, 1, 1)  # noqa: DTZ001 - that is the point
EXTREMES = [datetime.max.replace(tzinfo=UTC), datetime.min.replace(tzinfo=UTC)]

REFUSED: list[tuple[str, Any, str]] = [
    *(
        (name, value, f"must be a number of seconds, not {value!r}")
        for name in ("timeout", "heartbeat_timeout", "trigger_timeout")
        for value in NO_NUMBERS
    ),
    *(
        (name, value, f"must be more than 0 and at most 100 years, not {value!r}")
        for name in ("timeout", "heartbeat_timeout", "trigger_timeout")
        for value in NO_TIMEOUTS
    ),
    ("deadline", NAIVE, f"must be aware (have a time zone): {NAIVE!r}"),
    ("deadline", "2999-01-01T00:00:00", f"must be aware (have a time zone): {NAIVE!r}"),
    ("deadline", "tomorrow", "is no ISO 8601 time: 'tomorrow'"),
    ("deadline", 60, "must be an aware datetime, not 60"),
    ("deadline", timedelta(1), "must be an aware datetime, not datetime.timedelta(days=1)"),
    *(("deadline", t, f"must be in the years 1000 to 9000: {t!r}") for t in EXTREMES),
    ("labels", "text", "must be a sequence of texts, not 'text'"),
    ("labels", 5, "must be a sequence of texts, not 5"),
    ("labels", b"ab", "each must be a text, not 97"),
    ("labels", ["a", None], "each must be a text, not None"),
    ("labels", [""], "each must have 1 to 255 characters"),
    ("labels", ["x" * 256], "each must have 1 to 255 characters"),
    ("labels", [str(n) for n in range(33)], "there may be at most 32, not 33"),
    ("labels", ["a\x00"], "must not contain NUL characters"),
    ("labels", ["\ud800"], "must not contain lone surrogates"),
    ("meta", "text", "must be a mapping, not 'text'"),
    ("meta", [("a", 1)], "must be a mapping, not [('a', 1)]"),
    ("meta", {1: 2}, "keys must be texts, not 1"),
    ("meta", {"a": {None: 2}}, "keys must be texts, not None"),
    ("meta", {"a": nan}, "nan is not JSON"),
    ("meta", {"a": [-inf]}, "-inf is not JSON"),
    ("meta", {"a": b"x"}, "bytes is not JSON: b'x'"),
    ("meta", {"a": {1}}, "set is not JSON: {1}"),
    ("meta", {"a": SOON}, f"datetime is not JSON: {SOON!r}"),
    ("meta", {"a": "\x00"}, "must not contain NUL characters"),
    ("meta", {"\x00": 1}, "must not contain NUL characters"),
    ("meta", {"a": ["\ud800"]}, "must not contain lone surrogates"),
    ("meta", {"\ud800": 1}, "must not contain lone surrogates"),
    ("meta", {"a": nested(65)}, "is nested deeper than 64"),
    ("meta", {"a": 2**1024}, "integers may have at most 1024 bits"),
]
refused = pytest.mark.parametrize(
    ("name", "value", "problem"), REFUSED, ids=[f"{n}-{name_value(v)}" for n, v, _ in REFUSED]
)


@refused
def test_a_value_that_cannot_be_used(name: str, value: object, problem: str) -> None:
    with pytest.raises(OptionError) as caught:
        check_options({name: value})
    assert (caught.value.name, str(caught.value)) == (name, f"{name}: {problem}")


def test_an_option_that_is_none() -> None:
    with pytest.raises(OptionError) as caught:
        check_options({"timeot": 5})
    assert str(caught.value) == (
        "timeot: there is no such option; there are timeout, deadline, heartbeat_timeout, "
        "trigger_timeout, labels, meta"
    )


def test_a_cycle_is_too_deep() -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(OptionError, match=r"^meta: is nested deeper than 64$"):
        check_json("meta", cycle)


# --- And nothing is written -----------------------------------------------------------------------

WRONG: dict[str, Any] = {
    "timeout": -1,
    "deadline": NAIVE,
    "heartbeat_timeout": nan,
    "trigger_timeout": "soon",
    "labels": [5],
    "meta": {"a": b""},
}
wrong = pytest.mark.parametrize("name", WRONG)

WAYS: dict[str, Callable[[Any, dict[str, Any]], object]] = {
    "apply_async": lambda task, options: task.apply_async(**options),
    "set": lambda task, options: task.s().set(**options).apply_async(),
    "chain": lambda task, options: chain(task.s().set(**options), task.s()).apply_async(),
    "group": lambda task, options: group([task.s().set(**options)]).apply_async(),
    "apply": lambda task, options: task.apply(**options),
    "by name": lambda task, options: task.app.send_task(task.name, **options),
    "by signature": lambda task, options: task.app.signature(task.name).apply_async(**options),
}


@wrong
@pytest.mark.parametrize("way", WAYS)
def test_a_wrong_option_of_a_call(one_database: Rows, name: str, way: str) -> None:
    with pytest.raises(OptionError, match=f"^{name}: "):
        WAYS[way](one_database.task, {name: WRONG[name]})
    assert (one_database.count(), one_database.sent()) == (0, [])


LATER: dict[str, Callable[[Any, Any], Any]] = {
    "chain": chain,
    "chain in a chain": lambda first, later: chain(first, first, chain(first, later)),
    "group": lambda first, later: chain(first, group(first, later)),
    "chord header": lambda first, later: chain(first, chord([first, later], first)),
    "chord body": lambda first, later: chord([first, first], later),
    "chord body in a chain": lambda first, later: chain(first, chord([first, first], later)),
    "link": lambda first, later: first.clone().set(link=[later]),
    "errback": lambda first, later: first.clone().set(link_error=[later]),
}


@wrong
@pytest.mark.parametrize("place", LATER)
def test_a_wrong_option_of_a_later_step(one_database: Rows, name: str, place: str) -> None:
    first, later = one_database.task.s(), one_database.task.s().set(**{name: WRONG[name]})
    with pytest.raises(OptionError, match=f"^{name}: "):
        LATER[place](first, later).apply_async()
    assert (one_database.count(), one_database.sent()) == (0, [])


@pytest.mark.parametrize("place", LATER)
def test_an_option_for_a_later_step_that_is_ordinary(one_database: Rows, place: str) -> None:
    task: Any = one_database.app.task(name="options.ordinary", shared=False)(ask)
    later = task.s().set(labels=["a"])
    with pytest.raises(OptionError, match=r"^labels: is for external tasks, and options\.ordinary"):
        LATER[place](one_database.task.s(), later).apply_async()
    assert (one_database.count(), one_database.sent()) == (0, [])


@pytest.mark.parametrize("name", [name for name in WRONG if name != "deadline"])
def test_a_wrong_option_of_a_definition(one_database: Rows, name: str) -> None:
    with pytest.raises(OptionError, match=f"^{name}: "):
        define(one_database.app, **{name: WRONG[name]})
    with pytest.raises(OptionError, match=f"^{name}: "):
        type("Ask", (ExternalTask,), {name: WRONG[name]})


# --- Options of external tasks for ordinary ones --------------------------------------------------

RIGHT: dict[str, Any] = {
    "deadline": SOON,
    "heartbeat_timeout": 5,
    "trigger_timeout": 5,
    "labels": ["a"],
    "meta": {"a": 1},
}
ORDINARY = [way for way in WAYS if way != "apply"]


@pytest.mark.parametrize("name", RIGHT)
@pytest.mark.parametrize("way", ORDINARY)
def test_an_option_for_an_ordinary_task(one_database: Rows, name: str, way: str) -> None:
    task = one_database.app.task(name="options.ordinary", shared=False)(ask)
    one_database.app.finalize()
    with pytest.raises(OptionError) as caught:
        WAYS[way](task, {name: RIGHT[name]})
    assert str(caught.value) == (
        f"{name}: is for external tasks, and options.ordinary is not one"
    )  # fmt: skip
    assert (one_database.count(), one_database.sent()) == (0, [])


def test_kombus_own_timeout_is_left_to_ordinary_tasks(one_database: Rows) -> None:
    task: Any = one_database.app.task(name="options.ordinary", shared=False)(ask)
    assert task.apply_async(timeout=5).id


def test_options_for_a_name_that_is_not_known_here_are_sent(one_database: Rows) -> None:
    one_database.app.finalize()
    sent: Any = one_database.app.send_task
    sent("somewhere.else", labels=["a"])
    with one_database.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        assert channel.basic_get(one_database.queue).headers[OPTIONS_HEADER] == {"labels": ["a"]}


# --- Expiry is not a deadline ---------------------------------------------------------------------


@pytest.mark.parametrize("form", ["seconds", "datetime"])
def test_expires_stays_out_of_the_message(rows: Rows, form: str) -> None:
    moment = datetime.now(UTC) + timedelta(seconds=100)
    result = rows.task.apply_async(expires=100 if form == "seconds" else moment)
    with rows.app.connection_for_read() as connection:
        channel: Any = connection.default_channel
        message = channel.basic_get(rows.queue)
    assert message.headers["expires"] is None
    assert "expiration" not in message.properties
    row = rows.get(result.id)
    assert (row["expires_at"], row["deadline"]) == (In(100), None)
