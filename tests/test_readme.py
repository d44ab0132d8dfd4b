"""The README's tutorial, line by line as a new user would do it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.processes import REPOSITORY, Process
from tests.servers import Valkey
from tests.waiting import wait_for

README = (REPOSITORY / "README.md").read_text()
FILES = dict(re.findall(r"`(\w+\.py)`[^`]*?:\n\n```python\n(.*?)```", README, re.DOTALL))


@pytest.fixture
def shop(tmp_path: Path, valkey: Valkey) -> Path:
    """A directory with the tutorial's files, its Redis addresses replaced by the test's."""
    for name, original in FILES.items():
        text = original
        for url in ("redis://localhost:6379/0", "redis://localhost:6379/1"):
            text = text.replace(url, valkey.fresh_database() if url in text else url)
        (tmp_path / name).write_text(text)
    return tmp_path


def run(directory: Path, script: str, *arguments: str) -> list[str]:
    """Run a file of the tutorial and return what it prints."""
    command = [sys.executable, script, *arguments]
    done = subprocess.run(command, cwd=directory, check=True, capture_output=True, text=True)
    return done.stdout.splitlines()


def wait_for_words(directory: Path, job_id: str, wanted: str) -> None:
    """Run ``look.py`` until it says what it should."""
    said: list[str] = []

    def look() -> bool:
        said[:] = run(directory, "look.py", job_id)
        return said == [wanted]

    try:
        wait_for(look, what=f"look.py to print {wanted}")
    except AssertionError as exc:
        exc.add_note(f"it printed {said}")
        raise


def test_the_tutorial_does_what_it_says(shop: Path) -> None:
    assert list(FILES) == ["shop.py", "order.py", "approve.py", "look.py"]
    for command in ("celery -A shop worker -l INFO", "celery -A shop beat -l INFO"):
        assert f"$ {command}\n" in README
    worker = Process("celery", "-A", "shop", "worker", "-l", "INFO", cwd=shop, ready=" ready.")
    with worker, Process("celery", "-A", "shop", "beat", "-l", "INFO", cwd=shop):
        (job_id,) = run(shop, "order.py")
        wait_for_words(shop, job_id, "PARKED None []")
        assert run(shop, "approve.py") == ["approving: A mug with a cat", "applied"]
        wait_for_words(shop, job_id, "SUCCESS alice ['succeeded']")
        worker.wait_for_log("published, approved by alice")


def test_every_setting_and_function_stands_in_the_readme() -> None:
    import celery_external  # noqa: PLC0415
    from celery_external.config import CALL_OPTIONS, KNOWN  # noqa: PLC0415

    functions = [name for name in celery_external.__all__ if name[0].islower()]
    for name in (*KNOWN, *CALL_OPTIONS, *functions):
        assert f"`{name}" in README, name


def test_what_the_readme_links_to_is_there() -> None:
    for target in re.findall(r"\]\((docs/[^)]+)\)", README):
        assert (REPOSITORY / target).is_file(), target
