"""Install the peers into an environment of their own; one that cannot be is told and left out."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent


def main() -> None:
    """Install each line of requirements.txt by itself, then what npm has."""
    python = Path(sys.argv[1]) / "bin/python"
    lines = (HERE / "requirements.txt").read_text().splitlines()
    for line in lines:
        if line and not line.startswith("#"):
            _install([str(python), "-m", "pip", "install", "--quiet", line], line)
    _install_from_npm(Path(sys.argv[1]) / "npm")


def _install_from_npm(directory: Path) -> None:
    directory.mkdir(exist_ok=True)
    shutil.copy(HERE / "package.json", directory)
    npm = shutil.which("npm")
    if npm is None:
        _tell("Restate's server", "there is no npm")
        return
    _install([npm, "install", "--silent", "--no-audit", "--no-fund"], "Restate's server", directory)


def _install(command: list[str], what: str, directory: Path | None = None) -> None:
    done = subprocess.run(
        command, cwd=directory, env=os.environ, capture_output=True, text=True, check=False
    )
    if done.returncode:
        _tell(what, (done.stderr.strip() or "no reason given").splitlines()[-1])


def _tell(what: str, why: str) -> None:
    print(f"left out, as it cannot be installed: {what} ({why})")  # noqa: T201


if __name__ == "__main__":
    main()
