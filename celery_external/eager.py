"""What an eager call of a job that parks returns."""

from __future__ import annotations

from typing import Any, NoReturn

from celery.result import EagerResult

from . import states
from .errors import EagerCanvasError


class ParkedResult(EagerResult):  # type: ignore[type-arg]  # generic from Celery 5.7 on
    """What an eager call of a parked job returns: it has no result to give yet."""

    def __init__(self, job_id: str, name: str | None) -> None:
        super().__init__(job_id, None, states.PARKED)
        self._name = name

    def __reduce_args__(self) -> tuple[Any, ...]:
        return (self.id, self._name)

    def ready(self) -> bool:
        """False: the job waits."""
        return False

    def get(self, *_args: Any, **_kwargs: Any) -> NoReturn:
        """There is nothing to get; in eager mode nobody could wait for it.

        Raises:
            EagerCanvasError: Always.
        """
        raise EagerCanvasError(self.id)

    wait = get
