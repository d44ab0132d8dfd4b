"""An app is in memory for a while, and as it was before afterwards."""

from __future__ import annotations

import os
import threading
from contextlib import closing
from pathlib import Path
from typing import Any

import psutil
import pytest
from celery import Celery, _state, chain

from celery_external import (
    ExternalTask,
    SettingsError,
    current_job,
    get_external,
    testing,
)
from celery_external.testing import Kit
from tests.kit.conftest import DAY, TWO_DAYS, close_results, start
from tests.rows import NO_BROKER
from tests.systems import System


def test_an_app_is_as_it_was_before(shop: System, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("CELERY_BROKER_URL", "CELERY_RESULT_BACKEND"):
        monkeypatch.setenv(name, NO_BROKER)
    app: Any = shop.app
    app.conf.finalize()
    app.conf.update(
        task_always_eager=True,
        broker_read_url=NO_BROKER,
        broker_write_url=NO_BROKER,
        broker_transport="redis",
    )
    before = (dict(app.conf.changes), app.backend, dict(os.environ))
    external = shop.external
    other = Celery("other")

    def fail_inside() -> None:
        with testing.in_memory(app, task_default_queue="tests") as kit:
            app.conf.task_ignore_result = True
            assert app.conf.task_always_eager is False
            assert get_external().app is app
            assert (app.conf.broker_read_url, app.conf.broker_write_url) == ("memory://",) * 2
            start(kit, shop.task("ask").s())
            # Also what was made before knows the database.
            assert external.database_name == kit.external.database_name != "nowhere"
            assert external.get_job(kit.assert_parked().id).queue == "tests"
            shop.task("ask").delay()
            seen.append(Path(external.database_name.removeprefix("sqlite:///")))
            assert seen[0].exists()
            raise LookupError

    seen: list[Path] = []
    with pytest.raises(LookupError):
        fail_inside()
    assert (dict(app.conf.changes), app.backend, dict(os.environ)) == before
    assert "nowhere" in external.database_name
    assert _state.get_current_app() is other
    other.close()
    assert not seen[0].parent.exists()
    app.conf.task_always_eager = False
    with testing.in_memory(app) as kit:
        assert kit.drain() == 0


def test_results_are_where_the_settings_say(shop: System, tmp_path: Path) -> None:
    add = shop.task("add")
    backend = f"db+sqlite:///{tmp_path}/results.sqlite3"
    with testing.in_memory(shop.app) as kit:
        assert start(kit, add.s(1, 1)).get(timeout=1) == 2
        with testing.in_memory(shop.app, result_backend=backend) as inner:
            result = start(inner, add.s(2, 2))
            assert type(result.backend).__name__ == "DatabaseBackend"
            assert result.get(timeout=1) == 4
            close_results(shop.app.backend)
        assert start(kit, add.s(3, 3)).get(timeout=1) == 6


def test_one_within_the_other(shop: System) -> None:
    add = shop.task("add")
    with testing.in_memory(shop.app) as outer:
        first = add.delay(1, 1)
        with testing.in_memory(shop.app) as inner:
            second = add.delay(2, 2)
            assert inner.drain() == 1
            assert second.get(timeout=1) == 4
            add.delay(3, 3)
        assert outer.drain() == 1
        assert first.get(timeout=1) == 2


def test_nothing_is_left_behind(shop: System) -> None:
    process = psutil.Process()

    def use() -> None:
        with testing.in_memory(shop.app) as kit:
            start(kit, chain(shop.task("ask").s(), shop.task("wrap").s("end")), timeout=DAY)
            kit.shift(TWO_DAYS)

    use()

    def count() -> tuple[int, int, int]:
        return process.num_fds(), threading.active_count(), len(process.children())

    before = count()
    for _ in range(3):
        use()
    assert count() == before


def test_an_app_with_another_broker_or_that_is_eager_is_refused(shop: System) -> None:
    with pytest.raises(SettingsError) as raised:
        Kit(shop.app)
    assert str(raised.value) == (
        "Setting broker_url: is redis, and the test kit takes messages from memory:// only: set "
        "it, or use testing.in_memory(app)"
    )
    with testing.in_memory(shop.app) as kit:
        shop.app.conf.task_always_eager = True
        with pytest.raises(SettingsError) as raised:
            kit.drain()
    assert str(raised.value) == (
        "Setting task_always_eager: eager tasks send no messages: set it to False, or use "
        "testing.in_memory(app)"
    )
    with (
        pytest.raises(SettingsError, match="external_resume_grace"),
        testing.in_memory(shop.app, external_resume_grace=0),
    ):
        pass  # pragma: no cover - it is not reached


def test_a_kit_takes_the_current_app_and_its_own_settings(database_url: str) -> None:
    with closing(Celery("kit", broker="memory://", backend="cache+memory://")) as app:
        app.conf.update(external_database_url=database_url, task_default_queue="kit")

        @app.task(base=ExternalTask, shared=False)
        def ask() -> None:
            current_job.reference = "r-1"

        kit = Kit()
        assert kit.app is app
        ask.delay()
        kit.drain()
        assert kit.assert_parked(reference="r-1").task == ask.name
        kit.external._installation.reload()  # noqa: SLF001 - closes the database
