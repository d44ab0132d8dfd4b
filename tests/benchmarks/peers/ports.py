"""Free TCP ports."""

from __future__ import annotations

import socket


def find_free_port() -> int:
    """A TCP port of 127.0.0.1 that nobody listens on just now."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
    return port
