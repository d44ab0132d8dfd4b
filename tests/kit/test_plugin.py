"""The pytest plugin in test runs of a user's own, and the document's example in one of them."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from tests.processes import REPOSITORY

pytest_plugins = ["pytester"]

DOCUMENT = (REPOSITORY / "docs" / "testing.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`:\n\n```python\n(.*?)```", DOCUMENT, re.DOTALL))
#: Not the plugins of our own environment, which bring fixtures and options with them.
OPTIONS = ("-p", "no:randomly", "-p", "no:valkey", "-W", "error", "-q")

CONFTEST = """
import pytest
from celery import Celery
from celery_external import ExternalTask

app = Celery("shop", broker="redis://127.0.0.1:1/0", set_as_current=False)

@app.task(base=ExternalTask, name="shop.ask")
def ask():
    pass

@pytest.fixture
def celery_app():
    return app
"""


def write(pytester: pytest.Pytester, **files: str) -> None:
    for name, text in files.items():
        (pytester.path / f"{name}.py").write_text(text)


def test_the_document_is_true(pytester: pytest.Pytester) -> None:
    assert list(FILES) == ["shop.py", "conftest.py", "test_shop.py"]
    write(pytester, **{name.removesuffix(".py"): text for name, text in FILES.items()})
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=5)


def test_the_documents_other_lines_are_true(pytester: pytest.Pytester) -> None:
    blocks = re.findall(r"```python\n((?:with|provider).*?)```", DOCUMENT, re.DOTALL)
    assert len(blocks) == 2
    lines = "\n".join(blocks).replace("\n", "\n    ")
    test = f"""
import time
from celery import chain
from celery_external import Succeeded, testing
from shop import app, await_approval, publish, published

class client:
    posted = []

    def post(path, **call):
        client.posted.append(call)

def test_it():
    {lines}
    assert published == [("A mug", "alice")]
    assert client.posted[0]["headers"]["webhook-id"]
"""
    write(pytester, shop=FILES["shop.py"], test_it=test)
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=1)


def test_each_test_begins_with_nothing(pytester: pytest.Pytester) -> None:
    test = """
def test_one(external_kit):
    assert external_kit.drain() == 0
    external_kit.assert_not_parked()
    task = external_kit.app.tasks["shop.ask"]
    task.delay()
    external_kit.drain()
    external_kit.assert_parked(task)
    task.delay()

test_other = test_one
"""
    write(pytester, conftest=CONFTEST, test_it=test)
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=2)


def test_settings_come_from_a_fixture(pytester: pytest.Pytester, sqlite_url: str) -> None:
    config = f"""
@pytest.fixture(scope="session")
def external_config():
    return {{"external_database_url": {sqlite_url!r}, "task_default_queue": "tests"}}
"""
    test = """
def test_it(external_kit):
    external_kit.app.tasks["shop.ask"].delay()
    external_kit.drain()
    assert external_kit.assert_parked().queue == "tests"
    assert external_kit.external.database_name == "URL"
"""
    url = f"sqlite:///{sqlite_url.removeprefix('sqlite:///')}"
    write(pytester, conftest=CONFTEST + config, test_it=test.replace("URL", url))
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=1)


def test_celerys_own_fixture_serves(pytester: pytest.Pytester) -> None:
    test = """
from celery import shared_task
from celery_external import ExternalTask, Succeeded

@shared_task(base=ExternalTask)
def ask():
    pass

def test_it(external_kit, celery_app):
    assert external_kit.app is celery_app
    result = ask.delay()
    external_kit.drain()
    external_kit.signal(external_kit.assert_parked(ask), Succeeded(7))
    assert result.get(timeout=1) == 7
"""
    write(pytester, conftest='pytest_plugins = ["celery.contrib.pytest"]', test_it=test)
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=1)


def test_who_does_not_use_it_pays_nothing(pytester: pytest.Pytester) -> None:
    test = """
import sys

def test_it():
    assert "celery_external_pytest" in sys.modules
    heavy = {"celery", "celery_external", "kombu", "sqlalchemy"}
    assert heavy & set(sys.modules) == set()
"""
    write(pytester, test_it=test)
    pytester.runpytest_subprocess(*OPTIONS).assert_outcomes(passed=1)


def test_the_plugin_is_an_entry_point() -> None:
    (found,) = entry_points(group="pytest11", name="celery_external")
    assert found.value == "celery_external_pytest"
    # pytest is no dependency: only the plugin imports it.
    code = "import sys, celery_external.testing; assert 'pytest' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, check=True)


def test_each_name_stands_in_the_document() -> None:
    from celery_external import testing  # noqa: PLC0415

    public = [name for name in vars(testing.Kit) if not name.startswith("_")]
    for name in (*testing.__all__, *public, "external_kit", "external_config"):
        assert f"`{name}" in DOCUMENT or f"{name}(" in DOCUMENT or f"{name}." in DOCUMENT, name
