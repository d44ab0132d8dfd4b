"""procrastinate: it defers jobs, and has no way to complete one from outside."""

from __future__ import annotations

from procrastinate import App, SyncPsycopgConnector

from tests.benchmarks.peers.peer import BULK, TEXT, Act, Peer


class Measured(Peer):
    """Jobs deferred by a synchronous connector, with a connection for each thread."""

    name = "procrastinate"

    def set_up(self) -> None:
        """Its own schema."""
        self._app().schema_manager.apply_schema()

    def create(self) -> Act:
        """A job, deferred."""
        app = self._app()
        return lambda _: app.configure_task("wait", queue=BULK).defer(key="none", text=TEXT)

    _shared: App | None = None

    def _app(self) -> App:
        if self._shared is None:
            connector = SyncPsycopgConnector(conninfo=self.url, min_size=8, max_size=8)
            self._shared = App(connector=connector)
            self._shared.open()
        return self._shared
