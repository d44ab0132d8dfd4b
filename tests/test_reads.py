"""Reading: one job with its history, and lists that are the same on both databases."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Mapping
from contextlib import closing
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from celery_external import Count, Job, OptionError, Page, Progress
from celery_external.store.database import contains_json
from celery_external.store.read import FEW
from tests.rows import NOW, Rows

LONG_AGO = datetime(2024, 1, 1, tzinfo=UTC)
FAR_AHEAD = datetime(2124, 1, 1, tzinfo=UTC)


# --- One job --------------------------------------------------------------------------------------


def test_a_job_with_its_history(rows: Rows) -> None:
    job_id = rows.parked(
        args=("a", 1),
        kwargs={"k": [True]},
        shadow="shown",
        labels=("x",),
        meta={"m": 1},
        timeout=60,
    )
    rows.external.signal_progress(job_id, 1, 3, "begun")
    rows.external.extend_job(job_id, timeout=90, by="alice", reason="slow")
    rows.external.signal_succeeded(job_id, {"ok": 1}, by="bob", reason="looks good")

    job = rows.external.get_job(job_id)

    assert (job.id, job.namespace, job.task) == (job_id, "default", "rows.ask")
    assert (job.state, job.kind, job.is_open, job.settled, job.stuck) == (
        *("SUCCESS", "succeeded"),
        *(False, False, False),
    )
    assert (job.args, job.kwargs) == (["a", 1], {"k": [True]})
    assert (job.argsrepr, job.kwargsrepr) == ("('a', 1)", "{'k': [True]}")
    assert (job.shadow, job.labels, job.meta) == ("shown", ("x",), {"m": 1})
    assert (job.root_id, job.parent_id, job.group_id) == (job_id, None, None)
    assert (job.queue, job.reference, job.attempt) == (rows.queue, None, 1)
    assert (job.result, job.reason, job.completed_by) == ({"ok": 1}, "looks good", "bob")
    for moment in (job.created_at, job.started_at, job.parked_at, job.completed_at):
        assert moment == NOW
    progress = job.progress
    assert isinstance(progress, Progress)
    assert (progress.current, progress.total, progress.message) == (1, 3, "begun")
    assert [(e.event, e.attempt, e.by, e.reason, e.details) for e in job.history] == [
        ("extended", 1, "alice", "slow", {}),
        ("succeeded", 1, "bob", "looks good", {}),
    ]
    assert [entry.at == NOW for entry in job.history] == [True, True]


def test_a_snapshot_cannot_be_changed(rows: Rows) -> None:
    job = rows.external.get_job(rows.pending())
    with pytest.raises(AttributeError):
        job.state = "SUCCESS"  # type: ignore[misc]


def test_arguments_that_this_app_may_not_read_are_not_shown(rows: Rows, database_url: str) -> None:
    job_id = rows.pending(args=("a",))
    with closing(Rows(database_url, accept_content=["yaml"])) as other:
        job = other.external.get_job(job_id)
    assert (job.args, job.kwargs, job.argsrepr) == (None, None, "('a',)")


def test_the_history_is_loaded_by_get_job_only(rows: Rows) -> None:
    job_id = rows.owed()
    (job,) = rows.external.find_jobs()
    assert (job.id, job.history) == (job_id, ())
    assert len(rows.external.get_job(job_id).history) == 1


# --- Lists, against a model in plain Python -------------------------------------------------------

TIMES = ("created_at", "parked_at", "completed_at", "deadline")
NESTED = {"a": {"b": [1, {"c": None}]}}


def make_rows(template: Mapping[str, Any], number: int) -> list[dict[str, Any]]:
    """Random jobs; few values of each attribute, so that many are alike and many times equal."""
    chance = random.Random(7)  # noqa: S311 - a test's data
    made = []
    for n in range(number):
        state, kind, settled = chance.choice(
            [
                *(("PENDING", None, False), ("STARTED", None, False), ("PARKED", None, False)),
                *(("SUCCESS", "succeeded", False), ("SUCCESS", "succeeded", True)),
                *(("FAILURE", "failed", True), ("REVOKED", "cancelled", True)),
            ]
        )
        times = {
            name: LONG_AGO + timedelta(minutes=chance.randrange(12))
            if name == "created_at" or chance.random() < 0.8
            else None
            for name in TIMES
        }
        made.append(
            {
                **template,
                **times,
                "id": f"{chance.randrange(1 << 40):010x}",
                "state": state,
                "kind": kind,
                "wake_at": None if settled else chance.choice([LONG_AGO, FAR_AHEAD]),
                "sends": chance.choice([0, 3, 4]),
                "task": chance.choice(["shop.ask", "shop.render"]),
                "labels": chance.sample(["a", "b", "c"], chance.randrange(4)),
                "meta": chance.choice([{}, {"n": 1}, {"n": 1.0, "x": "y"}, NESTED, {"n": [1, 2]}]),
                "reference": chance.choice([None, f"r{n}"]),
                "root_id": chance.choice(["root1", "root2"]),
                "parent_id": chance.choice([None, "parent"]),
                "group_id": chance.choice([None, "group"]),
                "queue": chance.choice(["q1", "q2"]),
                "completed_by": chance.choice([None, "alice"]),
                "attempt": chance.choice([1, 2]),
            }
        )
    return made


@pytest.fixture
def model(rows: Rows) -> list[dict[str, Any]]:
    """Some 200 jobs in the database, and the same as rows of the model."""
    job_id = rows.pending()
    made = make_rows(rows.get(job_id), 200)
    rows.insert(made)
    return [*made, rows.get(job_id)]


def is_owed(row: Mapping[str, Any]) -> bool:
    return row["kind"] is not None and row["wake_at"] is not None


FLAGS: dict[str, Callable[[Mapping[str, Any]], bool]] = {
    "owed": is_owed,
    "overdue": lambda row: row["wake_at"] == LONG_AGO,
    # A trigger that runs, and a job that is parked, wait for no worker.
    "stuck": lambda row: (
        row["sends"] > 3 and (row["state"] in {"PENDING", "RETRY"} or is_owed(row))
    ),
}


def fits(row: Mapping[str, Any], filters: Mapping[str, Any]) -> bool:
    """Whether a row of the model is wanted."""
    for name, value in filters.items():
        if name == "labels":
            fit = set(value) <= set(row["labels"])
        elif name == "meta":
            fit = contains_json(json.dumps(row["meta"]), json.dumps(value))
        elif name == "settled":
            fit = row["kind"] is not None and (row["wake_at"] is None) == value
        elif name in FLAGS:
            fit = FLAGS[name](row) == value
        elif name.endswith(("_before", "_since")):
            base, _, side = name.rpartition("_")
            moment = row[base if base == "deadline" else f"{base}_at"]
            fit = moment is not None and (moment < value if side == "before" else moment >= value)
        else:
            fit = row[name] == value
        if not fit:
            return False
    return True


def expected(model: list[dict[str, Any]], order: str, **filters: Any) -> list[str]:
    """The ids that a list must show, in order."""
    column = f"{order.removeprefix('-')}_at"
    shown = [row for row in model if row[column] is not None and fits(row, filters)]
    shown.sort(key=lambda row: (row[column], row["id"]), reverse=order.startswith("-"))
    return [row["id"] for row in shown]


def read_all(rows: Rows, limit: int, order: str, **filters: Any) -> list[str]:
    """Every page of a list, one after the other."""
    found: list[str] = []
    page = rows.external.find_jobs(order=order, limit=limit, **filters)
    while True:
        assert len(page) <= limit
        found += [job.id for job in page]
        if page.next is None:
            return found
        assert len(page) == limit
        page = rows.external.find_jobs(order=order, limit=limit, after=page.next, **filters)


ORDERS = [sign + name for name in ("created", "parked", "completed") for sign in ("", "-")]
MIDDLE = LONG_AGO + timedelta(minutes=6)
METAS: list[dict[str, Any]] = [{"n": 1}, {"x": "y", "n": 1}, NESTED, {"a": {}}, {"n": [2]}, {}]
FILTERS: list[dict[str, Any]] = [
    {},
    *({"state": state} for state in ("PENDING", "STARTED", "PARKED", "RETRY", "SUCCESS")),
    {"task": "shop.ask"},
    {"reference": "r5"},
    {"root_id": "root1"},
    {"parent_id": "parent"},
    {"group_id": "group"},
    {"queue": "q2"},
    {"kind": "failed"},
    {"completed_by": "alice"},
    {"attempt": 2},
    {"settled": True},
    {"settled": False},
    *({name: value} for name in ("owed", "overdue", "stuck") for value in (True, False)),
    {"owed": True, "stuck": True, "labels": ["a"]},
    *({"labels": labels} for labels in (["a"], ("b", "a"), ["a", "b", "c"], ["d"], [])),
    *({"meta": meta} for meta in METAS),
    *(
        {f"{name}_{side}": MIDDLE}
        for name in ("created", "parked", "completed", "deadline")
        for side in ("before", "since")
    ),
    {"parked_since": LONG_AGO, "parked_before": MIDDLE, "labels": ["a"], "task": "shop.render"},
    {"state": None, "task": None, "labels": None, "settled": None, "created_before": None},
]


@pytest.mark.parametrize("order", ORDERS)
def test_every_filter_in_every_order(rows: Rows, model: list[dict[str, Any]], order: str) -> None:
    for filters in FILTERS:
        wanted = {name: value for name, value in filters.items() if value is not None}
        found = read_all(rows, 1000, order, **filters)
        assert found == expected(model, order, **wanted), filters


@pytest.mark.parametrize("order", ORDERS)
@pytest.mark.parametrize("limit", [1, 7, 50, 200])
def test_pages_join_without_a_gap_through_equal_times(
    rows: Rows, model: list[dict[str, Any]], order: str, limit: int
) -> None:
    filters = {"labels": ["a"]} if limit == 1 else {}
    assert read_all(rows, limit, order, **filters) == expected(model, order, **filters)


def test_pages_do_not_move_when_jobs_come_and_go(rows: Rows, model: list[dict[str, Any]]) -> None:
    first = rows.external.find_jobs(order="-created", limit=50)
    for _ in range(3):
        rows.pending()
    second = rows.external.find_jobs(order="-created", limit=50, after=first.next)
    assert [job.id for job in (*first, *second)] == expected(model, "-created")[:100]


def test_the_filters_tried_here_are_all_there_are(rows: Rows) -> None:
    with pytest.raises(OptionError) as caught:
        rows.external.find_jobs(color="red")
    tried = sorted({name for filters in FILTERS for name in filters})
    assert str(caught.value) == f"color: is no filter; there are {', '.join(tried)}"


def test_by_default_the_last_parked_come_first(rows: Rows, model: list[dict[str, Any]]) -> None:
    page = rows.external.find_jobs()
    assert [job.id for job in page] == expected(model, "-parked")[:50]
    assert isinstance(page, Page)
    assert (len(page), page[0], list(page[:2])) == (50, page.jobs[0], list(page.jobs[:2]))
    assert page[0] in page
    assert all(isinstance(job, Job) for job in page)


def test_of_many_and_of_few_the_lists_are_alike(rows: Rows) -> None:
    # Up to so many are looked up first, and then put in order.
    template = rows.get(rows.owed())
    few: list[dict[str, Any]] = [{"state": "SUCCESS"}, {"owed": True}, {"labels": ["a"]}]
    made = [
        {
            **template,
            "id": f"{n:05}",
            "labels": ["a"],
            "parked_at": LONG_AGO + timedelta(minutes=n % 7),
        }
        for n in range(FEW + 1)
    ]
    rows.insert(made[:-1])
    for more in (made[-1:], []):
        for filters in few:
            shown = [row for row in made if row not in more and fits(row, filters)]
            listed = read_all(rows, 400, "-parked", parked_before=FAR_AHEAD, **filters)
            assert listed[-len(shown) :] == expected(shown, "-parked"), filters
        if more:
            rows.insert(more)


def test_as_many_are_counted_as_are_listed(rows: Rows, model: list[dict[str, Any]]) -> None:
    for filters in FILTERS:
        wanted = {name: value for name, value in filters.items() if value is not None}
        number = sum(fits(row, wanted) for row in model)
        assert rows.external.count_jobs(**filters) == Count(number), filters
        for order in ORDERS:
            listed = len(expected(model, order, **wanted))
            assert rows.external.count_jobs(order=order, **filters) == Count(listed), filters


def test_a_list_is_of_one_namespace(rows: Rows, database_url: str) -> None:
    rows.pending()
    with closing(Rows(database_url, external_namespace="other")) as other:
        assert other.external.find_jobs(order="created").jobs == ()
        job_id = other.pending()
        assert [job.id for job in other.external.find_jobs(order="created")] == [job_id]


# --- What is refused ------------------------------------------------------------------------------

STATES = "FAILURE, PARKED, PENDING, RETRY, REVOKED, STARTED, SUCCESS"
NAIVE = datetime(2024, 1, 1)  # noqa: DTZ001 - that is the point
REFUSED: dict[str, list[tuple[Any, str]]] = {
    "order": [
        (
            value,
            f"must be one of created, parked, completed, or one with - before it, not {value!r}",
        )
        for value in ("", "--parked", "deadline", None, 5)
    ],
    "limit": [
        (value, f"must be a number from 1 to 1000, not {value!r}")
        for value in (0, -1, 1001, "5", None, 1.5, True)
    ],
    "state": [
        (value, f"must be one of {STATES}, not {value!r}")
        for value in ("parked", "", 5, ["PARKED"])
    ],
    "attempt": [
        (value, f"must be a number from 1, not {value!r}") for value in ("1", 0, 1 << 40, True)
    ],
    "after": [
        (value, f"is no page's next: {value!r}")
        for value in ("", "x", "eyJ9", "WzEsIDJd", "WzEsIDIsIDNd", "bnVsbA==", 5, b"x", "\ud800")
    ],
    **{
        name: [(1, "must be True or False, not 1")]
        for name in ("settled", "owed", "overdue", "stuck")
    },
    "labels": [("a", "must be a sequence of texts, not 'a'"), ([1], "each must be a text, not 1")],
    "meta": [([1], "must be a mapping, not [1]"), ({"a": b""}, "bytes is not JSON: b''")],
    "task": [(5, "must be a text, not 5")],
    "reference": [("\x00", "must not contain NUL characters")],
    "queue": [("\ud800", "must not contain lone surrogates")],
    "parked_since": [(NAIVE, f"must be an aware datetime, not {NAIVE!r}")],
    "created_before": [("2024", "must be an aware datetime, not '2024'")],
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_query_that_cannot_be_used(rows: Rows, name: str) -> None:
    for value, problem in REFUSED[name]:
        with pytest.raises(OptionError) as caught:
            rows.external.find_jobs(**{name: value})
        assert str(caught.value) == f"{name}: {problem}"
        if name not in {"limit", "after"} and value is not None:
            with pytest.raises(OptionError) as caught:
                rows.external.count_jobs(**{name: value})
            assert str(caught.value) == f"{name}: {problem}"


def test_the_next_of_one_order_is_no_place_in_another(rows: Rows) -> None:
    rows.copy(rows.pending(), 2)
    after = rows.external.find_jobs(order="created", limit=1).next
    assert rows.external.find_jobs(order="created", limit=1, after=after)
    for order in ("-created", "parked"):
        with pytest.raises(OptionError) as caught:
            rows.external.find_jobs(order=order, after=after)
        assert str(caught.value) == f"after: belongs to the order 'created', not {order!r}"
