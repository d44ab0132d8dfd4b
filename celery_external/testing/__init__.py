"""For tests of your own app: two days in milliseconds, without a broker, a worker or a sleep.

``in_memory(app)`` gives a :class:`Kit`; docs/testing.md shows what it does.
"""

from __future__ import annotations

from .draining import DrainLimitError
from .kit import Kit
from .memory import in_memory
from .provider import FakeProvider

__all__ = ["DrainLimitError", "FakeProvider", "Kit", "in_memory"]
