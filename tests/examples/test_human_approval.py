"""The newsroom in Django: its own tests by Django's test runner, its migrations, a real run."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tests.examples.running import run_example
from tests.processes import REPOSITORY


def manage(directory: Path, *arguments: str) -> str:
    """What ``manage.py`` says; it must end well."""
    env = {
        "DJANGO_SECRET_KEY": "of the tests" * 5,
        "EXTERNAL_SECRET_KEYS": "of-the-tests" * 5,
        "DATABASE": str(directory / "newsroom.sqlite3"),
    }
    done = subprocess.run(
        [sys.executable, "-m", "examples.human_approval.manage", *arguments],
        cwd=REPOSITORY,
        env={**os.environ, **env},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout
    return done.stdout


def test_its_own_tests(tmp_path: Path) -> None:
    said = manage(tmp_path, "test", "--noinput", "tests.examples.newsroom_tests")
    assert re.search(r"^OK$", said, re.MULTILINE), said


def test_its_migrations_are_complete(tmp_path: Path) -> None:
    assert "No changes detected" in manage(tmp_path, "makemigrations", "--check", "--dry-run")


def test_a_real_run() -> None:
    assert run_example("human_approval") == [
        "published at once, because its writer was sure: The harbour reopens",
        "waiting, the newest first: A miracle cure, A rumour about the mayor",
        "waiting with the label politics: A rumour about the mayor",
        "approved at the desk: A rumour about the mayor, by mona",
        "too late: ken declines what mona has approved",
        "declined by the mailed link: A miracle cure, by ken",
        "declined, because nobody decided in time: A trade war",
    ]
