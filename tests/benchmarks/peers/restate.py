"""Restate: a handler that waits for an awakeable, on its server, which keeps a log of its own."""

from __future__ import annotations

import asyncio
import http.client
import json
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import hypercorn.asyncio
import hypercorn.config
import restate

from tests.benchmarks.peers.peer import OUTCOME, PATIENCE, TEXT, Act, Peer
from tests.benchmarks.peers.ports import find_free_port
from tests.benchmarks.peers.running import Running

#: The server of the npm package that is installed beside this environment.
SERVER = Path(sys.prefix) / "npm/node_modules/.bin/restate-server"
PARKED = "parked"
CREATED, DONE = "created", "done"
#: Seconds without progress after which the service counts as having made up.
QUIET = 2.0


class Measured(Peer):
    """Its server with its own defaults (its log is flushed), and a Python service beside it.

    Every job runs, so the service is halted while the caller's side is measured; after it, what
    has been created waits, and what has been completed is through.
    """

    name = "restate"

    def set_up(self) -> None:
        """The server, the service, and the one made known to the other."""
        ports = {name: str(find_free_port()) for name in ("INGRESS", "ADMIN", "NODE", "SERVICE")}
        self._ingress, self._admin = int(ports["INGRESS"]), int(ports["ADMIN"])
        self._service_port = ports["SERVICE"]
        self._data = tempfile.mkdtemp(prefix="celery-external-restate-")
        self._server = Running(
            [str(SERVER), "--listen-mode", "tcp", "--bind-ip", "127.0.0.1",
             "--bind-port", ports["NODE"], "--advertised-host", "127.0.0.1", "--no-logo",
             "--base-dir", self._data],
            {
                "RESTATE_DISABLE_TELEMETRY": "true",
                "RESTATE_LOG_FILTER": "error",
                "RESTATE_INGRESS__BIND_PORT": ports["INGRESS"],
                "RESTATE_ADMIN__BIND_PORT": ports["ADMIN"],
                # As many wait at once as a round leaves waiting, by default 1,000.
                "RESTATE_WORKER__INVOKER__CONCURRENT_INVOCATIONS_LIMIT": "50000",
            },
        )  # fmt: skip
        self._service = Running(self.command(), {**self.env, "SERVICE_PORT": self._service_port})
        self._created = self._completed = 0
        self._register()

    def create(self) -> Act:
        """An invocation, sent; the answer says that it is in the log."""
        connection, body = self._connection(), json.dumps({"key": PARKED, "text": TEXT})

        def create(_: Any) -> None:
            _post(connection, "/Waiting/wait/send", body)
            self._created += 1

        return create

    def complete(self) -> Act:
        """The awakeable, resolved."""
        connection, body = self._connection(), json.dumps(OUTCOME)

        def complete(awakeable: Any) -> None:
            _post(connection, f"/restate/awakeables/{awakeable}/resolve", body)
            self._completed += 1

        return complete

    def stock(self, number: int) -> list[Any]:
        """Invocations that wait: what was created, and more."""
        create = self.create()
        while self.redis.llen(f"waiting:{PARKED}") < number:
            for _ in range(100):
                create(None)
            time.sleep(0.2)
        return [self.wait_for(f"waiting:{PARKED}") for _ in range(number)]

    def begin(self, key: str) -> Any:
        """The handler has made its awakeable."""
        _post(self._connection(), "/Waiting/wait/send", json.dumps({"key": key, "text": TEXT}))
        return self.wait_for(f"waiting:{key}")

    def hold(self) -> None:
        """The service stands still."""
        self._service.halt()

    def let_go(self) -> None:
        """The service makes up for it."""
        self._service.go()
        self._settle(CREATED, self._created)
        self._settle(DONE, self._completed)

    def start(self) -> None:
        """It always runs."""

    def close(self) -> None:
        """Server and service."""
        for process in (self._service, self._server):
            process.stop()
        shutil.rmtree(self._data, ignore_errors=True)

    def work(self) -> None:
        """The service, over HTTP/2 as its documentation has it."""
        config = hypercorn.config.Config()
        config.bind = [f"127.0.0.1:{os.environ['SERVICE_PORT']}"]
        config.loglevel = "ERROR"
        service = restate.Service("Waiting")

        async def wait(context: restate.Context, given: dict[str, str]) -> None:
            name, future = context.awakeable()
            key = given["key"]
            if key == PARKED:
                self.redis.incr(CREATED)
            self.say_waiting(key, name)
            await future
            self.redis.incr(DONE)
            if key != PARKED:
                await context.run("note", lambda: self.note(key))

        service.handler()(wait)
        app: Any = restate.app([service])
        asyncio.run(hypercorn.asyncio.serve(app, config))

    def _settle(self, what: str, wanted: int) -> None:
        # Some that the server could not push to the halted service it tries again much later.
        seen, until = -1, time.monotonic() + QUIET
        while (now := int(self.redis.get(what) or 0)) < wanted and time.monotonic() < until:
            if now > seen:
                seen, until = now, time.monotonic() + QUIET
            time.sleep(0.05)

    def _connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection("127.0.0.1", self._ingress)

    def _register(self) -> None:
        body = json.dumps({"uri": f"http://127.0.0.1:{self._service_port}"})
        until = time.monotonic() + PATIENCE
        while True:
            try:
                _post(http.client.HTTPConnection("127.0.0.1", self._admin), "/deployments", body)
            except (OSError, RuntimeError):
                if time.monotonic() > until:
                    print(self._server.log(), self._service.log(), file=sys.stderr)  # noqa: T201
                    raise
                time.sleep(0.2)
            else:
                return


def _post(connection: http.client.HTTPConnection, path: str, body: str) -> None:
    connection.request("POST", path, body, {"Content-Type": "application/json"})
    response = connection.getresponse()
    said = response.read()
    if response.status >= http.client.BAD_REQUEST:
        message = f"{path}: {response.status} {said!r}"
        raise RuntimeError(message)
