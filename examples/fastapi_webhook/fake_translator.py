"""Stands for a service that translates: it takes an order and calls back when it is done."""

from __future__ import annotations

import threading
from typing import Any

import httpx
from fastapi import FastAPI

web = FastAPI(openapi_url=None)


@web.post("/orders", status_code=202)
def create_order(order: dict[str, str]) -> dict[str, str]:
    """Begin to translate."""
    threading.Timer(0.5, work, (order["text"], order["callback_url"])).start()
    return {"state": "queued"}


def work(text: str, callback_url: str) -> None:
    """Say how it goes, and then the end."""
    call_back(callback_url, {"state": "working", "percent": 50})
    if text == "Covfefe":
        call_back(callback_url, {"state": "failed", "why": "this is no language"})
    else:
        call_back(callback_url, {"state": "done", "text": text[::-1]})


def call_back(url: str, body: dict[str, Any]) -> None:
    """Call the customer's webhook."""
    httpx.post(url, json=body, timeout=30).raise_for_status()
