"""Executes its argument: ``python -c`` for a Process, which runs modules."""

from __future__ import annotations

import sys

if __name__ == "__main__":
    exec(sys.argv[1])  # noqa: S102 - the tests' own code
