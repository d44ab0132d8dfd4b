"""The dashboard's own files: a stylesheet, a script, and htmx, by URLs that change with them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from hashlib import sha256
from importlib.resources import files
from typing import Final

from .exchange import Response

PREFIX: Final = "/static/"
_TYPES: Final[Mapping[str, str]] = {
    "dashboard.css": "text/css; charset=utf-8",
    "dashboard.js": "text/javascript; charset=utf-8",
    "htmx.min.js": "text/javascript; charset=utf-8",
}


@dataclass(frozen=True, slots=True)
class Asset:
    """A file; its ``path`` has a part that changes with its contents."""

    path: str
    content_type: str
    content: bytes


@cache
def load_assets() -> Mapping[str, Asset]:
    """The files by their names."""
    directory = files("celery_external.dashboard") / "static"
    found = {name: (directory / name).read_bytes() for name in _TYPES}
    return {
        name: Asset(f"{PREFIX}{sha256(content).hexdigest()[:12]}/{name}", _TYPES[name], content)
        for name, content in found.items()
    }


def serve_asset(path: str) -> Response | None:
    """The file with this path, which a browser may keep; None: there is none."""
    for asset in load_assets().values():
        if path == asset.path:
            headers = {
                "Content-Type": asset.content_type,
                "Cache-Control": "public, max-age=31536000, immutable",
                "X-Content-Type-Options": "nosniff",
            }
            return Response(200, asset.content, headers)
    return None
