"""What processes write down before they may be killed: a line of JSON for each fact."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any


class Notes:
    """Files of lines that many processes append to; a line that was written stays."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def write(self, name: str, **facts: Any) -> None:
        """Append a line; one write of few bytes is atomic, and on the disk on return."""
        file = os.open(self._directory / name, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        try:
            os.write(file, f"{json.dumps(facts)}\n".encode())
            os.fsync(file)
        finally:
            os.close(file)

    def read(self, name: str) -> list[dict[str, Any]]:
        """The lines, oldest first."""
        path = self._directory / name
        return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

    def size(self, name: str) -> int:
        """The bytes that were written, to see whether more come."""
        path = self._directory / name
        return path.stat().st_size if path.exists() else 0

    def tell(self, name: str) -> None:
        """Have every process know something; see :meth:`is_told`."""
        (self._directory / name).touch()

    def take_back(self, name: str) -> None:
        """No longer so."""
        (self._directory / name).unlink(missing_ok=True)

    def is_told(self, name: str) -> bool:
        """Whether it is so."""
        return (self._directory / name).exists()
