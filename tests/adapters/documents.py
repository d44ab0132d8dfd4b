"""The code of the docs' pages, as files that can be served."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from tests.processes import REPOSITORY

_FILE = re.compile(r"`([\w/]+\.py)`[^`]*?\n\n```python\n(.*?)```", re.DOTALL)
#: What Celery's documentation has a Django project's package say.
PROJECT = "from tests.django.project.celeryapp import app as celery_app\n"


def files_of(page: str) -> dict[str, str]:
    """The files that a page has, by their names."""
    return dict(_FILE.findall((REPOSITORY / "docs" / page).read_text()))


def write_site(directory: Path, servers: Mapping[str, str], *pages: str) -> Path:
    """Write the files of the pages, with other addresses of servers."""
    for page in pages:
        for name, original in files_of(page).items():
            text = original
            for address, other in servers.items():
                text = text.replace(f'"{address}"', f'"{other}"')
            path = directory / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    return directory
