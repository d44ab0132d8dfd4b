"""The peers' processes, as the one that measures speaks to them."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tests.processes import REPOSITORY


class Host:
    """One process of a peer; see ``host.py`` for what it can be asked."""

    def __init__(self, python: Path | str, name: str, env: Mapping[str, str]) -> None:
        self.name = name
        self._process = subprocess.Popen(
            [str(python), "-m", "tests.benchmarks.peers.host", name],
            cwd=REPOSITORY,
            env={**os.environ, **env},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def ask(self, do: str, **given: Any) -> Any:
        """Have it do something, and wait for the answer."""
        self.send(do, **given)
        return self.receive()

    def send(self, do: str, **given: Any) -> None:
        """Have it do something."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": do, **given}) + "\n")
        self._process.stdin.flush()

    def receive(self) -> Any:
        """Wait for the answer."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        said = json.loads(line) if line else {"problem": "its process has ended"}
        if "problem" in said:
            message = f"{self.name}: {said['problem']}"
            raise RuntimeError(message)
        return said["answer"]

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait()


def measure(hosts: Sequence[Host], verb: str, threads: int, seconds: float) -> float:
    """Calls a second of one or of several processes that start together."""
    for host in hosts:
        host.send("measure", verb=verb, threads=threads, seconds=seconds)
    answers = [host.receive() for host in hosts]
    number = sum(done for done, _, _ in answers)
    return float(number / (max(end for _, _, end in answers) - min(a for _, a, _ in answers)))
