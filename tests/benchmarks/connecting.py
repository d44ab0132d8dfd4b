"""Bare connections of psycopg."""

from __future__ import annotations

from typing import Any

import psycopg
from sqlalchemy import make_url


def connect(url: str) -> psycopg.Connection[Any]:
    """A connection that commits each statement."""
    return psycopg.connect(
        make_url(url).set(drivername="postgresql").render_as_string(), autocommit=True
    )
