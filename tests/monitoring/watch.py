"""What Celery's own monitors see: every event, and the State that they make of them."""

from __future__ import annotations

import threading
from typing import Any, Self

from celery.events.state import State

from tests.systems import System
from tests.waiting import wait_for


class Watch:
    """A receiver of an app's events, in a thread, from the start of its ``with`` block on."""

    def __init__(self, system: System) -> None:
        self._app: Any = system.app
        self._is_ready = threading.Event()
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self.state: Any = State()
        self.events: list[dict[str, Any]] = []

    def _receive(self) -> None:
        with self._app.connection_for_read() as connection:
            receiver = self._app.events.Receiver(connection, handlers={"*": self._on_event})
            with receiver.consumer_context(wakeup=False) as (real, _channel, _consumers):
                while not self._is_over.is_set():
                    try:
                        real.drain_events(timeout=0.1)
                    except TimeoutError:
                        # On Redis it is subscribed with the first look.
                        self._is_ready.set()

    def _on_event(self, event: dict[str, Any]) -> None:
        self.state.event(event)
        shown = self.task(event["uuid"]).state if "uuid" in event else None
        self.events.append({**event, "shown": shown})

    def of(self, job_id: str) -> list[dict[str, Any]]:
        """The events of one job, in order; ``shown`` is the state that the State had then."""
        return [event for event in list(self.events) if event.get("uuid") == job_id]

    def kinds_of(self, job_id: str) -> list[str]:
        """Their types."""
        return [event["type"] for event in self.of(job_id)]

    def task(self, job_id: str) -> Any:
        """The job in the State."""
        return self.state.tasks.get(job_id)

    def wait_state(self, job_id: str, state: str) -> Any:
        """Wait until a monitor shows the state."""

        def look() -> Any:
            found = self.task(job_id)
            return found if found is not None and found.state == state else None

        return wait_for(look, what=f"monitors to show {job_id} as {state}")

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._is_ready.wait(30)
        return self

    def __exit__(self, *_exc: object) -> None:
        self._is_over.set()
        self._thread.join()
