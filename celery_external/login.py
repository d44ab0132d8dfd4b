"""Who is logged in to this machine, for the history."""

from __future__ import annotations

import getpass


def login_name() -> str | None:
    """The user's name; None: a container's user may have none."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):
        return None
