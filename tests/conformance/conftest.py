"""Plays each combination once, when the first of its tests asks for it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.conformance.cases import Case
from tests.conformance.combinations import Combination
from tests.conformance.play import Seen, Stage


@pytest.fixture(scope="session")
def make_env(
    request: pytest.FixtureRequest,
    make_broker: Callable[[str], str],
    make_database: Callable[[str], str],
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[Combination], dict[str, str]]:
    """Gives a combination databases of its own, on no server that it does not need."""
    get = request.getfixturevalue

    def make_backend(combination: Combination, scratch: Path) -> str:
        make: dict[str, Callable[[], str]] = {
            "Redis": lambda: get("valkey").fresh_database(),
            "database": lambda: f"db+{make_results_table(combination, scratch)}",
            "rpc": lambda: "rpc://",
            "disabled": str,
        }
        return make[combination.backend]()

    def make_results_table(combination: Combination, scratch: Path) -> str:
        if combination.table == "PostgreSQL":
            url: str = get("postgres").create_database()
            return url
        return f"sqlite:///{scratch / 'results.sqlite3'}"

    def make(combination: Combination) -> dict[str, str]:
        scratch = tmp_path_factory.mktemp(str(combination))
        return {
            "BROKER_URL": make_broker(combination.broker),
            "RESULT_URL": make_backend(combination, scratch),
            "DATABASE_URL": make_database(combination.table),
            "SCRATCH": str(scratch),
        }

    return make


@pytest.fixture(scope="session")
def play(
    request: pytest.FixtureRequest, make_env: Callable[[Combination], dict[str, str]]
) -> Callable[[Combination], Mapping[str, Seen]]:
    """Plays a combination's collected cases, all on one worker; but once, also if that fails."""

    def find_collected(combination: Combination) -> list[Case]:
        specs = [getattr(item, "callspec", None) for item in request.session.items]
        params = [spec.params for spec in specs if spec is not None and "case" in spec.params]
        return [given["case"] for given in params if given.get("combination") is combination]

    @functools.cache
    def play_once(combination: Combination) -> Mapping[str, Seen] | Exception:
        try:
            with closing(Stage(combination, make_env(combination))) as stage:
                return stage.play(find_collected(combination))
        except Exception as exc:  # noqa: BLE001 - raised again for each of the tests
            return exc

    def play(combination: Combination) -> Mapping[str, Seen]:
        seen = play_once(combination)
        if isinstance(seen, Exception):
            raise seen
        return seen

    return play
