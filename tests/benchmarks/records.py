"""The raw results: a line of JSON for each figure of each round, with all it depends on."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from tests.processes import REPOSITORY

PACKAGES = ("celery", "kombu", "sqlalchemy", "psycopg", "redis")


class Records:
    """A file of results that a run adds to; ``at`` is when it began, and its name."""

    def __init__(self, path: Path, settings: Mapping[str, Any], *, at: str | None = None) -> None:
        self._path = path
        self._run = {
            "run": at or datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            **_describe_source(),
            "versions": {"python": platform.python_version(), **_versions()},
            "machine": {"cores": os.cpu_count(), "system": platform.system()},
            "settings": dict(settings),
        }

    def add(self, benchmark: str, case: str, value: float, unit: str, **conditions: Any) -> None:
        """Add a figure: of which benchmark, of what in it, and under which conditions."""
        line = {
            "benchmark": benchmark,
            "case": case,
            **conditions,
            "value": round(value, 6),
            "unit": unit,
            **self._run,
        }
        with self._path.open("a") as file:
            file.write(json.dumps(line) + "\n")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Every line of a file of results."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def _describe_source() -> dict[str, Any]:
    changed = _git("status", "--porcelain", "--untracked-files=no", "celery_external")
    return {"commit": _git("rev-parse", "--short=12", "HEAD"), "changed": bool(changed)}


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def _versions() -> dict[str, str]:
    return {name: version(name) for name in PACKAGES}
