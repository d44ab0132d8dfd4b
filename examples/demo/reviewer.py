"""A reviewer: she looks at the list of pictures and approves or declines, over HTTP.

She stands for a person with a browser, and knows nothing of Celery.
Run her with ``python -m examples.demo.reviewer URL``.
"""

from __future__ import annotations

import logging
import re
import sys
import time
from typing import Any
from urllib.error import HTTPError

from . import httpjson

log = logging.getLogger(__name__)

NAME = "alice"
FORBIDDEN = ("miracle", "guaranteed")
#: What she leaves to a pharmacist, who is on holiday: these wait until their time is up.
NOT_MINE = ("pharmacy",)


def review(web_url: str) -> None:
    """Decide on the oldest that is hers to decide, if there is one."""
    for item in httpjson.get(f"{web_url}/approvals"):
        if item["product"]["category"] in NOT_MINE:
            continue
        verb, fields = judge(item)
        try:
            httpjson.post(f"{web_url}/approvals/{item['id']}/{verb}", fields)
        except HTTPError as error:  # somebody else was first, or its time was up
            log.warning("%s refused: %s", verb, error.read().decode())
        else:
            log.info("%s: %s", verb, item["product"]["title"])
        return


def judge(item: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """What to do and what to say."""
    fields = {"attempt": item["attempt"], "by": NAME}
    words = re.findall(r"\w+", item["product"]["description"].lower())
    for word in FORBIDDEN:
        if word in words:
            return "decline", {**fields, "reason": f"we do not promise: {word!r}"}
    return "approve", fields


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO)
    while True:
        review(sys.argv[1])
        time.sleep(0.4)
