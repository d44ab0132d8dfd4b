"""Stands for a service that draws: it takes an order and calls back when it is done."""

from __future__ import annotations

import threading

import httpx
from flask import Flask, request
from flask.typing import ResponseReturnValue

PICTURE = "https://pictures.example/1.png"


def create_app() -> Flask:
    """The service."""
    web = Flask(__name__)

    @web.post("/drawings")
    def draw() -> ResponseReturnValue:
        job = request.get_json()
        threading.Timer(1, _call_back, (job["callback_url"],)).start()
        return {"status": "drawing"}, 202

    return web


def _call_back(url: str) -> None:
    httpx.post(url, json=PICTURE).raise_for_status()
