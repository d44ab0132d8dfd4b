"""Where an app's tasks write what they do, and wait for the test: files of one directory."""

from __future__ import annotations

from pathlib import Path

from tests.waiting import wait_for


class Scratch:
    """The directory."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def write_line(self, name: str, text: object) -> None:
        """Append a line; short appends are atomic."""
        with (self.path / name).open("a") as file:
            file.write(f"{text}\n")

    def lines(self, name: str) -> list[str]:
        """The lines that were written."""
        path = self.path / name
        return path.read_text().splitlines() if path.exists() else []

    def wait_for_file(self, name: str) -> None:
        """Stay here until a test says go on."""
        wait_for((self.path / name).exists, what=f"the test to write {name}")
