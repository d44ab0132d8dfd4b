"""Plays each combination once, when the first of its tests asks for it."""

from __future__ import annotations

import functools
import shutil
from collections.abc import Callable, Mapping
from contextlib import closing
from pathlib import Path

import pytest

from tests.conformance.cases import Case
from tests.conformance.combinations import Combination
from tests.conformance.play import Seen, Stage


@pytest.fixture(scope="session")
def make_env(  # noqa: C901 - a table of servers
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Combination], dict[str, str]]:
    """Gives a combination servers' databases of its own."""

    def make_broker(combination: Combination) -> str:
        if combination.broker == "RabbitMQ":
            vhost: str = request.getfixturevalue("rabbitmq").fresh_vhost()
            return vhost
        database: str = request.getfixturevalue("valkey").fresh_database()
        return database

    def make_table(combination: Combination, scratch: Path) -> str:
        if combination.table == "PostgreSQL":
            template = request.getfixturevalue("postgres_template")
            url: str = request.getfixturevalue("postgres").create_database(template)
            return url
        path = scratch / "jobs.sqlite3"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"

    def make_backend(combination: Combination, scratch: Path) -> str:
        match combination.backend, combination.table:
            case "Redis", _:
                url: str = request.getfixturevalue("valkey").fresh_database()
                return url
            case "database", "PostgreSQL":
                return f"db+{request.getfixturevalue('postgres').create_database()}"
            case "database", _:
                return f"db+sqlite:///{scratch / 'results.sqlite3'}"
            case "rpc", _:
                return "rpc://"
            case _:
                return ""

    def make(combination: Combination) -> dict[str, str]:
        scratch = tmp_path_factory.mktemp(str(combination))
        return {
            "BROKER_URL": make_broker(combination),
            "RESULT_URL": make_backend(combination, scratch),
            "DATABASE_URL": make_table(combination, scratch),
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
        params = [spec.params for spec in specs if spec is not None]
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
