"""Meta and labels are matched alike: our function on SQLite is PostgreSQL's ``@>``."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from celery_external import OptionError
from celery_external.checks import check_meta
from celery_external.store.database import Database
from tests.rows import Rows

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=3)
FEW_TEXTS = st.sampled_from(["", "a", "b", "A", "\N{LATIN SMALL LETTER A WITH DIAERESIS}", "1"])
NUMBERS = st.sampled_from([0, -0.0, 1, 1.0, 1.5, -1, 10**20, 1e20, 2**53, 2**53 + 1, float(2**53)])
# PostgreSQL writes a larger float with its shortest digits as an integer, which is another number.
FLOATS = st.floats(-(2**53), 2**53)
SCALARS = st.one_of(
    st.none(), st.booleans(), NUMBERS, st.integers(), FEW_TEXTS, TEXTS, FLOATS
)  # fmt: skip
JSON = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FEW_TEXTS, inner, max_size=3),
    max_leaves=8,
)
METAS = st.dictionaries(FEW_TEXTS, JSON, max_size=3)


@st.composite
def parts(draw: st.DrawFn, whole: Any) -> Any:
    """Something like a part of ``whole``: most of what is left out is left out right."""
    if draw(st.integers(0, 9)) == 0:
        return draw(JSON)
    if isinstance(whole, dict):
        return {key: draw(parts(value)) for key, value in whole.items() if draw(st.booleans())}
    if isinstance(whole, list):
        kept = [draw(parts(value)) for value in whole if draw(st.booleans())]
        return draw(st.permutations(kept + kept[:1]))
    return whole


@st.composite
def pairs(draw: st.DrawFn) -> tuple[dict[str, Any], dict[str, Any]]:
    """A meta, and a filter that often fits it."""
    whole = draw(METAS)
    part = draw(parts(whole))
    return whole, part if isinstance(part, dict) else draw(METAS)


@pytest.fixture(scope="module")
def on_postgresql(postgres: Any) -> Iterator[psycopg.Connection[Any]]:
    url = postgres.url("postgres").replace("+psycopg", "")
    with psycopg.connect(url, autocommit=True) as connection:
        yield connection


@pytest.fixture(scope="module")
def on_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    database = Database(f"sqlite:///{tmp_path_factory.mktemp('has') / 'any.sqlite3'}")
    with closing(database.engine.raw_connection()) as connection:
        yield connection
    database.dispose()


@settings(max_examples=400, deadline=None, suppress_health_check=list(HealthCheck))
@given(pairs())
@example(({"a": [1, 2]}, {"a": 1}))
@example(({"a": True}, {"a": 1}))
@example(({"a": [[1]]}, {"a": [[]]}))
@example(({"a": [1]}, {"a": [[]]}))
@example(({"a": []}, {"a": {}}))
@example(({"a": None}, {"a": None}))
@example(({"a": 1}, {}))
@example(({"a": ["x"]}, {"a": ["x", "x"]}))
def test_both_databases_agree(
    on_postgresql: psycopg.Connection[Any],
    on_sqlite: Any,
    pair: tuple[dict[str, Any], dict[str, Any]],
) -> None:
    whole, part = (json.dumps(value, ensure_ascii=False) for value in pair)

    theirs = on_postgresql.execute("SELECT %s::jsonb @> %s::jsonb", (whole, part)).fetchone()
    cursor = on_sqlite.cursor()
    ours = cursor.execute("SELECT celery_external_json_has(?, ?)", (whole, part)).fetchone()

    assert theirs is not None
    assert bool(ours[0]) is theirs[0]


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(METAS)
def test_meta_comes_back_as_it_was_given(module_rows: Rows, meta: dict[str, Any]) -> None:
    job_id = module_rows.pending(meta=meta)

    assert module_rows.external.get_job(job_id).meta == meta
    found = module_rows.external.find_jobs(order="-created", meta=meta, limit=1000)
    assert job_id in {job.id for job in found}


@pytest.fixture(scope="module", params=["sqlite", "postgresql"])
def module_rows(request: pytest.FixtureRequest, tmp_path_factory: Any) -> Iterator[Rows]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path_factory.mktemp('meta') / 'jobs.sqlite3'}"
    else:
        template = request.getfixturevalue("postgres_template")
        url = request.getfixturevalue("postgres").create_database(template)
    with closing(Rows(url)) as made:
        yield made


@settings(deadline=None, suppress_health_check=list(HealthCheck))
@given(st.dictionaries(TEXTS, JSON | st.floats() | st.binary() | st.text(), max_size=3))
def test_what_is_accepted_is_json(meta: dict[str, Any]) -> None:
    try:
        checked = check_meta(meta)
    except OptionError:
        return
    assert json.loads(json.dumps(checked, allow_nan=False)) == meta
