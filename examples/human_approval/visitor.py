"""A person with a browser, for the show: logs in, looks at pages, sends their forms."""

from __future__ import annotations

import re
from typing import Self
from urllib.parse import urlencode

import httpx


class Visitor:
    """A context manager; ``name`` is logged in at the newsroom at ``address``."""

    def __init__(self, address: str, name: str, password: str) -> None:
        self.name = name
        self._password = password
        self._client = httpx.Client(base_url=address, follow_redirects=True, timeout=30)

    def __enter__(self) -> Self:
        self.look("/login/")
        self.send("/login/", username=self.name, password=self._password)
        return self

    def __exit__(self, *_exc_info: object) -> None:
        self._client.close()

    def look(self, path: str) -> str:
        """The page."""
        return self._client.get(path).raise_for_status().text

    def send(self, path: str, **fields: str) -> str:
        """Send a form of Django's; returns the page that follows."""
        fields["csrfmiddlewaretoken"] = self._client.cookies["csrftoken"]
        return self._client.post(path, data=fields).raise_for_status().text

    def confirm(self, link: str, **fields: str) -> str:
        """Send the form of a page that asks to decide about a job."""
        key = re.search(r'name="key" value="([^"]+)"', self.look(link))
        if key is None:
            message = f"there is nothing to decide at {link}"
            raise LookupError(message)
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        body = urlencode({"key": key[1], **fields})
        return self._client.post(link, content=body, headers=headers).raise_for_status().text
