"""Typed steps as type checkers see them, in a user's project outside the repository."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.processes import OUTSIDE_CACHE, REPOSITORY

PROJECT = REPOSITORY / "tests" / "typed_project"


def run(directory: Path, *command: str) -> str:
    """Run a checker, which finds something."""
    done = subprocess.run(
        [sys.executable, "-m", *command],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
    )
    assert done.returncode == 1, done.stdout + done.stderr
    return done.stdout


def mypy(directory: Path) -> dict[int, str]:
    options = ("--strict", "--cache-dir", OUTSIDE_CACHE)
    lines = run(directory, "mypy", *options, "studio.py").splitlines()
    parts = [line.split(":", 2) for line in lines if ": error:" in line]
    return {int(number): text for _file, number, text in parts}


def pyright(directory: Path) -> dict[int, str]:
    (directory / "pyrightconfig.json").write_text(json.dumps({"typeCheckingMode": "strict"}))
    python = ("--pythonpath", sys.executable)
    said = json.loads(run(directory, "basedpyright", *python, "--outputjson", "studio.py"))
    found = said["generalDiagnostics"]
    return {one["range"]["start"]["line"] + 1: one["message"] for one in found}


@pytest.mark.parametrize("check", [mypy, pyright])
def test_what_is_wrong_is_seen_and_nothing_else(
    tmp_path: Path, check: Callable[[Path], dict[int, str]]
) -> None:
    shutil.copy(PROJECT / "studio.py", tmp_path)
    lines = (PROJECT / "studio.py").read_text().splitlines()
    wrong = {number for number, line in enumerate(lines, 1) if line.endswith("# wrong")}

    found = check(tmp_path)

    assert {n: text for n, text in found.items() if n not in wrong} == {}
    assert sorted(wrong - set(found)) == []
